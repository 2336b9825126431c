from pathlib import Path

import pytest

from ferry.cli.model_refs import resolve
from ferry.errors import NotFoundError
from ferry.repository import Survey
from tests.manifests import manifest

ROOT = Path("models")
SURVEY = Survey(
    entries={("toy", "9"): manifest(version="9"), ("toy", "10"): manifest(version="10")},
    broken={("toy", "2"): "model.onnx is missing", ("toy", "notes"): "no version"},
)


def test_resolve_when_no_version_is_named_then_all_are_meant_in_numeric_order() -> None:
    assert resolve(SURVEY, "toy", ROOT) == ("toy", ["notes", "2", "9", "10"])


def test_resolve_when_a_version_is_named_then_only_that_is_meant() -> None:
    assert resolve(SURVEY, "toy:2", ROOT) == ("toy", ["2"])


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        ("toi", "did you mean toy?"),
        ("zzz", "`ferry models list`"),
        ("toy:7", "no version '7'; it has notes, 2, 9, 10"),
        ("toy:", "no version ''"),
    ],
)
def test_resolve_when_there_is_none_then_it_says_what_there_is(ref: str, words: str) -> None:
    with pytest.raises(NotFoundError, match=words):
        resolve(SURVEY, ref, ROOT)
