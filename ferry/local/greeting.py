"""What `ferry up` says when it is ready. Knows manifests, for the example; starts nothing."""

import re
from collections.abc import Sequence
from pathlib import Path

from ferry.examples import FREE_AXIS_SIZE, example_shape
from ferry.manifest import Manifest, TensorSpec

_PLAIN_NAME = r"[A-Za-z0-9_.:/-]+"  # needs no quoting in a shell's double quotes

KEYS_HINT = """
Requests need an API key, since the API can be reached from elsewhere: `ferry keys create NAME` makes one, to be sent as
`Authorization: Bearer ...`.
"""


def greeting(
    *,
    api_url: str,
    flower_url: str,
    redis: str,
    log: Path,
    n_workers: int,
    manifests: Sequence[Manifest],
    needs_keys: bool = False,
) -> str:
    """Return the lines with the addresses and a command to paste."""
    workers = f"{n_workers} worker{'' if n_workers == 1 else 's'}"
    hint = (
        "Try it:" if manifests else "No model is here yet (ferry models add FILE.onnx --name NAME). See what is served:"
    )
    return f"""
Ferry is up: {workers}, Redis {redis}

  Page       {api_url}/
  API docs   {api_url}/docs
  Flower     {flower_url}
  Log        {log}
{KEYS_HINT if needs_keys else ""}
{hint}

  {curl_example(api_url, manifests)}

Ctrl-C stops it.
"""


def curl_example(api_url: str, manifests: Sequence[Manifest]) -> str:
    """Return a command for any POSIX shell: a prediction where some model takes numbers, else the list of models."""
    for manifest in manifests:
        if all(_is_plain(spec) for spec in manifest.inputs):
            # Filled in by python3, for a row of 784 numbers on the command line helps nobody.
            tensors = ", ".join(f"'{spec.name}': {_expression(manifest, spec)}" for spec in manifest.inputs)
            body = f"import json; print(json.dumps({{'version': '{manifest.name}', 'input': {{{tensors}}}}}))"
            return (
                f'python3 -c "{body}" |\n'
                f"  curl -s {api_url}/v1/predictions -H 'Prefer: wait' -H 'Content-Type: application/json' -d @-"
            )
    return f"curl -s {api_url}/v1/models"


def _is_plain(spec: TensorSpec) -> bool:
    return spec.is_fixed and not spec.has_any_rank and re.fullmatch(_PLAIN_NAME, spec.name) is not None


def _expression(manifest: Manifest, spec: TensorSpec) -> str:
    """Return the Python expression of an example: [[0] * 784] * 2, say."""
    least, greatest = spec.range or (0, 0)
    value = f"{min(max(0, least), greatest):g}"
    if spec.dtype == "bool":
        value = "False"
    for size in reversed(example_shape(manifest, spec, free_axis_size=FREE_AXIS_SIZE)):
        value = f"[{value}] * {size}"
    return value
