from pathlib import Path

import orjson
import pytest

from api import body_process
from api.body_process import BodyReader
from api.job_bodies import Kind

QUESTION = {"kind": Kind.PREDICTION, "json_length": None}
BODY = orjson.dumps({"model": "toy", "input": [[1, 2, 3], [4, 5, 6]]})


def test_answer_when_memory_is_not_enough_then_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def raise_it(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(body_process, "JobBody", raise_it)
    answer, payloads = BodyReader().answer(QUESTION, BODY)
    assert "not enough memory" in answer["error"]["detail"]
    assert payloads == []


def test_answer_when_a_body_is_to_be_forgotten_then_none_is_held() -> None:
    reader = BodyReader()
    reader.answer(QUESTION, BODY)
    assert not reader.is_empty
    assert reader.answer({"forget": True}, b"") == ({}, [])
    assert reader.is_empty


def test_has_grown_when_there_is_no_proc_then_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(body_process, "Path", lambda _: tmp_path / "status")
    assert body_process._has_grown() is False
