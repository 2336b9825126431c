import pytest

from api import forwarded
from api.forwarded import MAX_HOPS, MAX_TEXT, Forwarded, forwarded_of


def trusts(address: str) -> bool:
    return address.startswith("10.") or address == "2001:db8::1"


@pytest.mark.parametrize(
    ("hops", "client"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 10.0.0.2", "203.0.113.7"),
        # What a client wrote itself stands to the left of what the first trusted proxy saw.
        ("1.2.3.4, 203.0.113.7", "203.0.113.7"),
        ("10.0.0.9, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("2001:db8::7, 2001:db8::1", "2001:db8::7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, unknown, 10.0.0.2", "10.0.0.2"),
        ("unknown", ""),
        ("", ""),
        (", ,", ""),
    ],
)
def test_forwarded_of_when_addresses_are_listed_then_the_last_that_no_trusted_proxy_has(hops: str, client: str) -> None:
    assert forwarded_of({"x-forwarded-for": hops, "x-forwarded-proto": "https"}, trusts).client == client


def test_forwarded_of_when_values_are_listed_then_the_nearest_proxys() -> None:
    headers = {
        "x-forwarded-proto": "http, HTTPS",
        "x-forwarded-host": "evil, good:1",
        "x-forwarded-prefix": "/evil, /ml",
    }
    assert forwarded_of(headers, trusts) == Forwarded("", "https", "good:1", "/ml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("for=203.0.113.7;proto=https;host=a.example", Forwarded("203.0.113.7", "https", "a.example")),
        ('For="[2001:db8::7]:4711"; Proto=HTTPS', Forwarded("2001:db8::7", "https")),
        ("for=1.2.3.4;host=evil, for=203.0.113.7;host=a.example", Forwarded("203.0.113.7", "", "a.example")),
        # The nearest proxy describes what it got from another proxy; that one describes the client.
        ("for=203.0.113.7;proto=https;host=a, for=10.0.0.2;proto=http;host=b", Forwarded("203.0.113.7", "https", "a")),
        ("for=1.2.3.4;proto=http, for=_hidden;proto=https", Forwarded("", "https")),
        (r'host="a\.example"', Forwarded("", "", "a.example")),
        ("nonsense", Forwarded()),
        ("", Forwarded()),
    ],
)
def test_forwarded_of_when_the_standard_header_is_sent_then_read(text: str, said: Forwarded) -> None:
    assert forwarded_of({"forwarded": text}, trusts) == said


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        # One kind was written by the client, and nothing shows which.
        ("for=203.0.113.7", {"for": "6.6.6.6"}, Forwarded()),
        ("for=6.6.6.6;host=evil", {"for": "203.0.113.7", "host": "a.example"}, Forwarded()),
        ("for=203.0.113.7", {"host": "evil", "prefix": "/evil"}, Forwarded()),
        ("for=203.0.113.7;proto=HTTPS;host=evil", {"for": "203.0.113.7", "proto": "https", "host": "a", "prefix": "/b"},
         Forwarded("203.0.113.7", "https")),
        ("nonsense", {"for": "203.0.113.7", "prefix": "/ml"}, Forwarded("203.0.113.7", "", "", "/ml")),
    ],
)  # fmt: skip
def test_forwarded_of_when_both_kinds_are_sent_then_only_what_both_say(
    text: str, more: dict[str, str], said: Forwarded
) -> None:
    headers = {"forwarded": text} | {f"x-forwarded-{name}": value for name, value in more.items()}
    assert forwarded_of(headers, trusts) == said


def test_forwarded_of_when_the_list_is_long_then_only_its_end_is_read() -> None:
    asked: list[str] = []
    hops = ", ".join(["10.0.0.1"] * 10_000)
    forwarded_of({"x-forwarded-for": hops}, lambda address: not asked.append(address))
    forwarded_of({"forwarded": hops.replace("10.0.0.1", "for=10.0.0.1")}, lambda address: not asked.append(address))
    assert len(asked) == 2 * MAX_HOPS


def test_forwarded_of_when_the_standard_header_is_long_then_the_work_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[str] = []
    monkeypatch.setattr(forwarded, "_elements", lambda text: read.append(text) or [])
    forwarded_of({"forwarded": "," * 60_000 + "for=203.0.113.7"}, trusts)
    (text,) = read
    assert len(text) == MAX_TEXT
    assert text.endswith("for=203.0.113.7")
