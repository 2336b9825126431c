"""`ferry models add --missing`: its words become the rule of each input. Knows no command and no terminal."""

from collections.abc import Sequence

from pydantic import ValidationError

from ferry.errors import InvalidInputError
from ferry.manifest import Manifest, TensorSpec
from ferry.missing_rules import REFUSE, MissingRule, read_rule, why_unfit


def with_missing(manifest: Manifest, options: Sequence[str]) -> Manifest:
    """Return the manifest with the rules of `options`, each NAME=RULE or a RULE for every input that it fits.

    A rule for one input stands over a rule for all.

    Raises:
        InvalidInputError: no such input, a rule that an input cannot have, or two rules for one input.
    """
    rules: dict[str, MissingRule] = {}
    for_all: list[str] = []
    for option in options:
        spec = _input_of(manifest, option)
        if spec is None:
            for_all.append(_word_for_all(manifest, option))
        elif spec.name in rules:
            raise InvalidInputError(f"--missing has two rules for input {spec.name!r}; give one")
        else:
            rules[spec.name] = _rule(spec, option.removeprefix(f"{spec.name}="))
    if len(for_all) > 1:
        raise InvalidInputError(f"--missing has two rules for all inputs ({', '.join(for_all)}); write NAME=RULE")
    if for_all:
        rules = _rules_for_all(manifest, for_all[0]) | rules
    inputs = [_with_rule(spec, rules[spec.name]) if spec.name in rules else spec for spec in manifest.inputs]
    return manifest.model_copy(update={"inputs": tuple(inputs)})


def _input_of(manifest: Manifest, option: str) -> TensorSpec | None:
    """Return the input that an option names; of names that begin alike the longest."""
    named = [spec for spec in manifest.inputs if option.startswith(f"{spec.name}=")]
    return max(named, key=lambda spec: len(spec.name), default=None)


def _word_for_all(manifest: Manifest, option: str) -> str:
    if "=" in option:
        names = ", ".join(repr(spec.name) for spec in manifest.inputs)
        raise InvalidInputError(f"--missing {option[:60]!r} names no input; there are {names}")
    return option


def _rules_for_all(manifest: Manifest, word: str) -> dict[str, MissingRule]:
    rules, reasons = {}, []
    for spec in manifest.inputs:
        if spec.is_string and word != REFUSE:
            # A misspelt rule would become a text of the model.
            reasons.append(f"a text for input {spec.name!r} is given as {spec.name}=TEXT")
            continue
        try:
            rules[spec.name] = _rule(spec, word)
        except InvalidInputError as error:
            reasons.append(error.detail)
    if not rules:
        raise InvalidInputError(f"--missing {word[:40]!r} fits no input: {'; '.join(reasons)[:400]}")
    return rules


def _rule(spec: TensorSpec, word: str) -> MissingRule:
    try:
        rule = read_rule(word, spec.dtype)
        reason = why_unfit(rule, spec.dtype, spec.range)
    except InvalidInputError as error:
        reason = error.detail
    if reason:
        raise InvalidInputError(f"--missing {spec.name}={word[:40]}: {reason}")
    return rule


def _with_rule(spec: TensorSpec, rule: MissingRule) -> TensorSpec:
    try:
        return TensorSpec.model_validate(spec.model_dump() | {"missing": rule})
    except ValidationError as error:
        raise InvalidInputError(f"--missing does not fit {spec.name!r}: {error.errors()[0]['msg']}") from None
