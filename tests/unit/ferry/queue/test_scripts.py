import re
from importlib.resources import files

import pytest

from ferry.queue import keys
from ferry.queue.scripts import script

SHARED = {"prelude.lua", "bulk.lua", "limits.lua"}
NAMES = sorted(
    path.name.removesuffix(".lua") for path in (files("ferry.queue") / "lua").iterdir() if path.name not in SHARED
)
STRING = r"'[^'\n]*'"


def code_of(text: str) -> str:
    """Return a script without its comments and strings."""
    return re.sub(rf"--[^\n]*|{STRING}", lambda match: "''" if match[0].startswith("'") else "", text)


def constants_of(text: str) -> dict[str, str]:
    return dict(re.findall(r"^local ([A-Z][A-Z_]+) = (.+)$", text, re.MULTILINE))


def test_scripts_when_listed_then_all_that_the_queue_calls() -> None:
    assert NAMES == [
        "alias", "batch_cancel", "batch_open", "beat", "cancel", "claim", "delete", "expire", "forget", "gate", "lapse",
        "leave", "purge", "register", "renew", "settle", "step_between", "step_settle", "submit", "tune",
    ]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_script_when_read_then_every_constant_in_it_has_a_value(name: str) -> None:
    text = script(name)
    used = set(re.findall(r"\b[A-Z][A-Z_]{2,}\b", code_of(text))) - {"ARGV", "KEYS"}
    assert used - set(constants_of(text)) == set()


@pytest.mark.parametrize("name", NAMES)
def test_script_when_read_then_the_constants_are_those_of_keys(name: str) -> None:
    for constant, value in constants_of(script(name)).items():
        wanted = getattr(keys, constant)
        assert value == (f"'{wanted}'" if isinstance(wanted, str) else str(wanted))


@pytest.mark.parametrize("name", NAMES)
def test_script_when_read_then_no_key_is_spelled_out_in_it(name: str) -> None:
    own = "\n".join(line for line in script(name).splitlines() if not line.startswith("local "))
    assert f"'{keys.PREFIX}" not in own


@pytest.mark.parametrize("name", NAMES)
def test_script_when_read_then_every_block_is_closed(name: str) -> None:
    code = code_of(script(name))
    opened = len(re.findall(r"\b(?:function|if|do)\b", code))  # `for` and `while` open with their `do`
    assert opened == len(re.findall(r"\bend\b", code))
    assert [code.count(each) for each in "([{"] == [code.count(each) for each in ")]}"]


def test_script_when_read_twice_then_the_same_text() -> None:
    assert script("submit") is script("submit")


def test_script_when_there_is_none_of_that_name_then_said() -> None:
    with pytest.raises(FileNotFoundError, match="nonsense"):
        script("nonsense")
