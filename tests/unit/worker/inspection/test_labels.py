from pathlib import Path

import pytest

from ferry.errors import InvalidInputError
from ferry.manifest import TensorSpec
from worker.inspection.labels import PlacedLabels, place_labels, read_labels


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


def output(name: str, dtype: str, *inner: int | None) -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=(None, *inner))


LABEL, NAMES = output("label", "int64"), output("names", "string", 3)
SCORES, LOGITS, QUANTIZED = (output("scores", "float32", 3), output("logits", "float16", 3), output("q", "uint8", 3))
ANY, MASK = output("any", "float32", None), output("mask", "bool", 3)
ABC = ("a", "b", "c")


@pytest.mark.parametrize(
    ("outputs", "name"),
    [
        ((SCORES,), "scores"),
        ((LABEL, SCORES), "scores"),
        ((QUANTIZED, ANY, LOGITS), "logits"),
        ((LABEL, NAMES, MASK, QUANTIZED, ANY), "q"),
        ((output("x", "float32", 3, 4), output("y", "float32", 4, 3)), "y"),
    ],
)
def test_place_labels_when_one_output_has_a_score_for_each_then_they_are_its(
    outputs: tuple[TensorSpec, ...], name: str
) -> None:
    placed = place_labels(ABC, outputs)
    assert (placed.labels, placed.output, placed.notes) == (ABC, name, ())


def test_place_labels_when_several_fit_then_the_first_and_a_note_says_so() -> None:
    placed = place_labels(ABC, (LABEL, LOGITS, SCORES))
    assert placed.output == "logits"
    assert placed.notes == ("labels are for output 'logits', the first with 3 scores; 'scores' fits too",)


def test_place_labels_when_the_number_of_scores_is_not_known_then_a_note_says_so() -> None:
    placed = place_labels(ABC, (LABEL, ANY))
    assert placed.output == "any"
    assert placed.notes == ("labels are for output 'any', whose number of scores is not known; it must be 3",)


@pytest.mark.parametrize("labels", [("no", "yes"), ("a", "b", "c", "d")])
def test_place_labels_when_no_output_fits_then_the_size_of_each_is_named(labels: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        place_labels(labels, (LABEL, NAMES, MASK, SCORES))
    assert refusal.value.detail == (
        f"there are {len(labels)} labels, and no output has one score for each: output 'label' has one number a row; "
        "output 'names' is string; output 'mask' is bool; the last axis of output 'scores' has 3; "
        "give one label for each score, one a line"
    )


def test_place_labels_when_rows_lie_along_the_last_axis_then_the_one_before_counts() -> None:
    sideways = TensorSpec(name="t", dtype="float32", shape=(3, None), batch_axis=1)
    assert place_labels(ABC, (sideways,)).output == "t"


@pytest.mark.parametrize(("keys", "labels"), [((0, 1, 2), ("0", "1", "2")), (ABC, ABC)])
def test_place_labels_when_none_are_given_then_the_keys_of_maps_are_the_labels(
    keys: tuple[int | str, ...], labels: tuple[str, ...]
) -> None:
    scores = SCORES.model_copy(update={"map_keys": keys})
    assert place_labels((), (LABEL, scores)) == PlacedLabels(labels, "scores")
    assert place_labels((), (LABEL, SCORES)) == PlacedLabels()
    assert place_labels(("x", "y", "z"), (LABEL, scores)) == PlacedLabels(("x", "y", "z"), "scores")
