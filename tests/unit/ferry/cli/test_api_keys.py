from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from typer.testing import CliRunner, Result

from ferry.access import Scope, parse_token
from ferry.cli import api_keys
from ferry.erasure import Erasure
from ferry.errors import InvalidInputError, NotFoundError
from tests.fakes.memory_keys import MemoryKeys


@pytest.fixture
def book(monkeypatch: pytest.MonkeyPatch) -> MemoryKeys:
    """The book that the commands open."""
    kept = MemoryKeys()

    @contextmanager
    def opened(settings: object) -> Iterator[MemoryKeys]:
        yield kept

    monkeypatch.setattr(api_keys, "key_book_of", opened)
    monkeypatch.setenv("COLUMNS", "200")
    return kept


def ferry_keys(*arguments: str) -> Result:
    return CliRunner().invoke(api_keys.app, list(arguments))


def test_create_when_only_named_then_its_own_owner_who_submits_and_reads_and_the_key_alone_on_stdout(
    book: MemoryKeys,
) -> None:
    result = ferry_keys("create", "ci")
    (key,) = book.list_all()
    assert (key.name, key.owner, key.scopes) == ("ci", "ci", {Scope.SUBMIT, Scope.READ})
    assert (key.rate_per_s, key.max_unfinished) == (None, None)
    token = parse_token(result.stdout.removesuffix("\n"))
    assert token is not None
    assert (token[0], key.fits(token[1])) == (key.id, True)
    assert result.stderr == f"key {key.id} of ci: read, submit. Keep it, it is not shown again:\n"


def test_create_when_all_is_said_then_so(book: MemoryKeys) -> None:
    ferry_keys("create", "web", "--owner", "team-a", "--scopes", " admin , read", "--rate", "0.5", "--unfinished", "7")
    (key,) = book.list_all()
    assert (key.owner, key.scopes, key.rate_per_s, key.max_unfinished) == ("team-a", {Scope.ADMIN, Scope.READ}, 0.5, 7)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("a b",), "name"),
        (("x" * 65,), "name"),
        (("ci", "--owner", "a:b"), "owner"),
        (("ci", "--owner", "a/b"), "owner"),
        (("ci", "--scopes", "write"), "scopes"),
        (("ci", "--scopes", " , "), "scopes"),
    ],
)
def test_create_when_a_word_is_wrong_then_it_is_named_and_no_key_is_made(
    book: MemoryKeys, arguments: tuple[str, ...], field: str
) -> None:
    error = ferry_keys("create", *arguments).exception
    assert isinstance(error, InvalidInputError)
    assert [fault.pointer for fault in error.faults] == [field]
    assert book.list_all() == []


@pytest.mark.parametrize("limit", [("--rate", "0"), ("--unfinished", "0"), ("--unfinished", "-1")])
def test_create_when_a_limit_lets_nothing_in_then_refused(book: MemoryKeys, limit: tuple[str, str]) -> None:
    assert ferry_keys("create", "ci", *limit).exit_code == 2
    assert book.list_all() == []


def test_list_when_there_are_none_then_how_to_make_one(book: MemoryKeys) -> None:
    assert ferry_keys("list").stdout == "There are no keys; `ferry keys create NAME` makes one.\n"


def test_list_when_there_are_some_then_each_with_its_limits_and_state_and_no_secret(book: MemoryKeys) -> None:
    limited, text = book.create("ci", owner="ann", scopes=frozenset({Scope.READ}), rate_per_s=2.5, max_unfinished=1000)
    free, _ = book.create("web", owner="bob", scopes=frozenset({Scope.ADMIN}))
    book.revoke(free.id)
    shown = ferry_keys("list").stdout
    (first,) = (line for line in shown.splitlines() if limited.id in line)
    (second,) = (line for line in shown.splitlines() if free.id in line)
    for said in ("ci", "ann", "read", "2.5/s, 1,000 unfinished", "2027-01-15 08:00", "in force"):
        assert said in first
    for said in ("web", "bob", "admin", "none", "revoked 2027-01-15 08:00"):
        assert said in second
    assert text[-43:] not in shown
    assert limited.digest not in shown


def test_revoke_when_there_then_said_and_again_the_same(book: MemoryKeys) -> None:
    key, _ = book.create("ci", owner="ann", scopes=frozenset({Scope.READ}))
    for _ in range(2):
        assert ferry_keys("revoke", key.id).stdout == f"Key {key.id} (ci) is revoked.\n"
    assert book.list_all()[0].revoked_us is not None


def test_revoke_when_there_is_none_then_not_found(book: MemoryKeys) -> None:
    assert isinstance(ferry_keys("revoke", "0" * 12).exception, NotFoundError)


def test_rotate_when_named_then_the_new_key_alone_on_stdout_and_the_old_ones_end_is_said(book: MemoryKeys) -> None:
    ferry_keys("create", "ci")
    (old,) = book.list_all()
    result = ferry_keys("rotate", old.id, "--overlap", "7d")
    _, made = book.list_all()
    token = parse_token(result.stdout.removesuffix("\n"))
    assert token is not None
    assert made.fits(token[1])
    assert f"key {made.id} of ci replaces {old.id}, which works until 20" in result.stderr
    assert "works until" in ferry_keys("list").stdout


@pytest.mark.parametrize("text", ["", "1", "1w", "-1h", "91d", "1.5h", "9999999s"])
def test_rotate_when_the_overlap_is_no_duration_then_said(book: MemoryKeys, text: str) -> None:
    result = ferry_keys("rotate", "0" * 12, "--overlap", text)
    assert isinstance(result.exception, InvalidInputError)


class ToldEraser:
    """Says what it was asked."""

    def __init__(self, found: Erasure) -> None:
        self.found = found
        self.erased: list[tuple[str, bool]] = []

    async def count(self, owner: str) -> Erasure:
        return self.found

    async def erase(self, owner: str, *, is_revoking: bool = False) -> Erasure:
        self.erased.append((owner, is_revoking))
        return self.found


@pytest.fixture
def eraser(monkeypatch: pytest.MonkeyPatch) -> ToldEraser:
    told = ToldEraser(Erasure("ann", keys=1, jobs=1200, dead_letters=3, batches=2, files=4))

    @asynccontextmanager
    async def opened(settings: object) -> AsyncIterator[ToldEraser]:
        yield told

    monkeypatch.setattr(api_keys, "eraser_of", opened)
    monkeypatch.setenv("COLUMNS", "200")
    return told


NUMBERS = "1,200 jobs (3 dead letters), 2 batches, 4 files, 1 keys"


def test_erase_when_confirmed_then_erased_and_the_numbers_are_said(eraser: ToldEraser) -> None:
    result = CliRunner().invoke(api_keys.app, ["erase", "ann", "--revoke"], input="y\n")
    assert f"Erase ann: {NUMBERS}?" in result.stderr
    assert result.stdout.strip().endswith(f"Erased of ann: {NUMBERS}.")
    assert eraser.erased == [("ann", True)]


def test_erase_when_not_confirmed_then_nothing_is_erased(eraser: ToldEraser) -> None:
    result = CliRunner().invoke(api_keys.app, ["erase", "ann"], input="n\n")
    assert (result.exit_code, eraser.erased) == (1, [])


def test_erase_when_only_counting_then_nothing_is_erased(eraser: ToldEraser) -> None:
    assert ferry_keys("erase", "ann", "--dry-run").stdout.strip() == f"ann has {NUMBERS}."
    assert eraser.erased == []


def test_erase_when_it_need_not_ask_then_it_does_not(eraser: ToldEraser) -> None:
    assert ferry_keys("erase", "ann", "--yes").exit_code == 0
    assert eraser.erased == [("ann", False)]
