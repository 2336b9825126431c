import hashlib
import re
from importlib.resources import files
from pathlib import Path

import pytest

import ferry
from ferry.queue import keys
from ferry.queue.keys import Keys
from ferry.queue.scripts import Script, script
from tests.namespaces import KEYS

SHARED = {"prelude.lua", "bulk.lua", "limits.lua", "digests.lua"}
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
        "alias", "batch_cancel", "batch_erase", "batch_open", "beat", "broken", "cancel", "claim", "clock_step",
        "delete", "expire", "forget", "gate", "lapse", "leave", "purge", "recount", "register", "renew", "settle",
        "step_between", "step_settle", "submit", "switch", "tune",
    ]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_script_when_read_then_every_constant_in_it_has_a_value(name: str) -> None:
    text = script(name, KEYS)
    used = set(re.findall(r"\b[A-Z][A-Z_]{2,}\b", code_of(text))) - {"ARGV", "KEYS"}
    assert used - set(constants_of(text)) == set()


@pytest.mark.parametrize("name", NAMES)
def test_script_when_read_then_the_constants_are_those_of_keys(name: str) -> None:
    for constant, value in constants_of(script(name, KEYS)).items():
        wanted = getattr(KEYS, constant.lower(), None) or getattr(keys, constant)
        assert value == (f"'{wanted}'" if isinstance(wanted, str) else str(wanted))


@pytest.mark.parametrize("name", NAMES)
def test_script_when_read_then_no_key_is_spelled_out_in_it(name: str) -> None:
    own = "\n".join(line for line in script(name, KEYS).splitlines() if not line.startswith("local "))
    assert not re.search(r"'(?:\{|ferry)", own)


@pytest.mark.parametrize("name", NAMES)
def test_script_when_of_another_namespace_then_it_names_no_key_of_the_first(name: str) -> None:
    assert KEYS.prefix in script(name, KEYS)
    assert KEYS.prefix not in script(name, Keys("other"))


class RecordingRedis:
    """Takes scripts, and writes down the keys of each call."""

    def __init__(self) -> None:
        self.declared: list[list[str]] = []

    def register_script(self, text: str) -> "RecordingRedis":
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        return self

    def __call__(self, keys: list[str], args: list[str]) -> list[str]:
        self.declared.append(keys)
        return args

    def evalsha(self, sha: str, n_keys: int, *keys_and_args: str) -> None:
        assert sha == self.sha
        self.declared.append(list(keys_and_args[:n_keys]))


def test_script_when_called_in_any_way_then_it_declares_one_key_of_its_namespace() -> None:
    redis, place = RecordingRedis(), Keys("other")
    called = Script(redis, "cancel", place)
    assert called(["id"]) == ["id"]
    called.queue_in(redis, ["id"])
    assert called.by_sha(["id"]) == [redis.sha, 1, place.nothing, "id"]
    assert redis.declared == [[place.nothing]] * 2


def test_scripts_when_called_then_only_by_way_of_script() -> None:
    """No other module says EVALSHA or registers a script, so each call declares its key."""
    root = Path(ferry.__file__).parent
    texts = {path.relative_to(root).as_posix(): path.read_text("utf-8") for path in root.rglob("*.py")}
    called = re.compile(r"\b(?:evalsha|eval|register_script)\(|[\"']EVAL")
    found = {name: called.findall(text) for name, text in texts.items() if called.search(text)}
    assert found == {"bulk/steps.py": ['"EVAL'], "queue/scripts.py": ["register_script(", "evalsha("]}
    assert re.findall(r'"EVAL.*', texts["bulk/steps.py"]) == [
        '"EVALSHA", *self._between.by_sha(_question(held, place, models)))'
    ]


@pytest.mark.parametrize("name", NAMES)
def test_script_when_read_then_every_block_is_closed(name: str) -> None:
    code = code_of(script(name, KEYS))
    opened = len(re.findall(r"\b(?:function|if|do)\b", code))  # `for` and `while` open with their `do`
    assert opened == len(re.findall(r"\bend\b", code))
    assert [code.count(each) for each in "([{"] == [code.count(each) for each in ")]}"]


def test_script_when_read_twice_then_the_same_text() -> None:
    assert script("submit", KEYS) is script("submit", Keys(KEYS.namespace))


def test_script_when_there_is_none_of_that_name_then_said() -> None:
    with pytest.raises(FileNotFoundError, match="nonsense"):
        script("nonsense", KEYS)
