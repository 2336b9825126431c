import pytest

from ferry.access import ApiKey, Scope, check_name, digest_of, new_token, parse_token, scopes_from
from ferry.errors import InvalidInputError

SUBMIT, READ, ADMIN = Scope.SUBMIT, Scope.READ, Scope.ADMIN


def key(*scopes: Scope, owner: str = "ann", revoked_us: int | None = None, secret: str = "s" * 43) -> ApiKey:
    return ApiKey("0a1b2c3d4e5f", "ci", owner, frozenset(scopes), digest_of(secret), 1, revoked_us=revoked_us)


def test_token_when_new_then_it_is_parsed_into_its_id_and_secret() -> None:
    key_id, secret, text = new_token()
    assert parse_token(text) == (key_id, secret)
    assert text.startswith("ferry_")
    assert new_token()[2] != text


@pytest.mark.parametrize(
    "text",
    ["", "ferry_", "sk-123", "ferry_0a1b2c3d4e5f_", f"ferry_0A1B2C3D4E5F_{'s' * 43}", f"ferry_0a1b2c3d4e5f_{'s' * 44}",
     f"ferry_0a1b2c3d4e5f_{'s' * 42}é", f" ferry_0a1b2c3d4e5f_{'s' * 43}", f"ferry_0a1b2c3d4e5f_{'s' * 43}\n"],
)  # fmt: skip
def test_token_when_it_is_none_then_not_parsed(text: str) -> None:
    assert parse_token(text) is None


def test_fits_when_the_secret_is_right_then_alone() -> None:
    assert key(READ, secret="a" * 43).fits("a" * 43)
    assert not key(READ, secret="a" * 43).fits("b" * 43)
    assert "a" * 43 not in repr(key(READ, secret="a" * 43))


@pytest.mark.parametrize(
    ("made", "may"),
    [(key(READ), {READ}), (key(SUBMIT, READ), {SUBMIT, READ}), (key(ADMIN), set(Scope)),
     (key(ADMIN, revoked_us=2), set())],
)  # fmt: skip
def test_may_when_asked_for_each_scope_then_what_was_given(made: ApiKey, may: set[Scope]) -> None:
    assert {scope for scope in Scope if made.may(scope)} == may


def test_sees_when_it_is_anothers_then_only_an_admin_does() -> None:
    assert key(READ).sees("ann")
    assert not key(READ).sees("bob")
    assert not key(READ).sees("")
    assert key(ADMIN).sees("bob")


def test_scopes_when_listed_then_read() -> None:
    assert scopes_from("submit, read") == {SUBMIT, READ}


@pytest.mark.parametrize(("text", "said"), [("", "no scope"), ("read,wirte", "'wirte'"), ("ADMIN", "'ADMIN'")])
def test_scopes_when_bad_then_those_there_are_told(text: str, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said) as caught:
        scopes_from(text)
    assert "submit, read, metrics, admin" in caught.value.detail


@pytest.mark.parametrize("text", ["", ".", "a b", "é", "x" * 65, "a\n"])
def test_name_when_bad_then_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="name: expected"):
        check_name(text, "name")
