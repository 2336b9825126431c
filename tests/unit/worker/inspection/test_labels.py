from pathlib import Path

import pytest

from ferry.errors import InvalidInputError
from ferry.manifest import TensorSpec
from worker.inspection.labels import check_labels, read_labels


@pytest.mark.parametrize(
    ("text", "labels"), [("no\nyes\n", ["no", "yes"]), ("\ufeffgroß", ["groß"]), ("", []), ("\n", [])]
)
def test_read_labels_when_they_are_in_a_file_then_each_line_is_one(
    tmp_path: Path, text: str, labels: list[str]
) -> None:
    file = tmp_path / "labels.txt"
    file.write_text(text, encoding="utf-8")
    assert read_labels(str(file)) == labels


def test_read_labels_when_none_are_given_then_there_are_none() -> None:
    assert read_labels("") == []


def test_read_labels_when_it_is_no_text_then_the_byte_is_named(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes(b"no\n\xff\n")
    with pytest.raises(InvalidInputError, match="not UTF-8 text: invalid start byte at byte 3"):
        read_labels(str(file))


def test_check_labels_when_they_do_not_fit_then_both_numbers_are_named() -> None:
    scores = TensorSpec(name="scores", dtype="float32", shape=(None, 3))
    check_labels(("a", "b", "c"), scores)
    with pytest.raises(InvalidInputError, match="2 labels, but the last axis of output 'scores' has 3"):
        check_labels(("no", "yes"), scores)


@pytest.mark.parametrize("shape", [(None,), (None, None)])
def test_check_labels_when_the_number_of_classes_is_not_known_then_any_will_do(shape: tuple[None, ...]) -> None:
    check_labels(("no", "yes"), TensorSpec(name="scores", dtype="float32", shape=shape))
