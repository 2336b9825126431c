import pytest

from api.downloads import UnsatisfiableRangeError, disposition_of, media_type_of, range_of


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=2-4", (2, 5)),
        ("bytes=2-", (2, 10)),
        ("bytes=8-99", (8, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        ("BYTES= 1-2 ", (1, 3)),
    ],
)
def test_range_of_when_it_is_in_the_file_then_its_bytes(header: str, expected: tuple[int, int]) -> None:
    assert range_of(header, 10) == expected


@pytest.mark.parametrize(
    "header", [None, "", "bytes=-", "bytes=4-2", "bytes=0-1,3-4", "rows=1-2", "bytes=a-b", "bytes=1-" + "9" * 30]
)
def test_range_of_when_it_is_not_understood_then_all(header: str | None) -> None:
    assert range_of(header, 10) is None


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-12", "bytes=-0"])
def test_range_of_when_no_byte_is_in_it_then_unsatisfiable(header: str) -> None:
    with pytest.raises(UnsatisfiableRangeError):
        range_of(header, 10)


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("in.jsonl", "attachment; filename=\"in.jsonl\"; filename*=UTF-8''in.jsonl"),
        ("../../etc/passwd", "attachment; filename=\"passwd\"; filename*=UTF-8''passwd"),
        ('a"\r\nSet-Cookie: x', "attachment; filename=\"a_Set-Cookie_ x\"; filename*=UTF-8''a%22Set-Cookie%3A%20x"),
        ("Füße.csv", "attachment; filename=\"F__e.csv\"; filename*=UTF-8''F%C3%BC%C3%9Fe.csv"),
        ("..", "attachment; filename=\"file-1\"; filename*=UTF-8''file-1"),
    ],
)
def test_disposition_of_when_the_name_is_anything_then_a_safe_one(filename: str, expected: str) -> None:
    assert disposition_of(filename, "file-1") == expected


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("a.JSONL", "application/jsonl"),
        ("a.csv", "text/csv"),
        ("a.html", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ],
)
def test_media_type_of_when_named_then_by_its_suffix(filename: str, expected: str) -> None:
    assert media_type_of(filename) == expected
