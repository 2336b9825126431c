import asyncio
import io
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import orjson
import pytest
import typer
from rich.console import Console

from ferry.cli import demo_traffic
from ferry.cli.demo import demo_folder, show_digits, table_of
from ferry.cli.demo_figures import Answer, pick_shown, summarize
from ferry.cli.demo_traffic import Progressing, Samples, read_samples, send_all
from ferry.client import Prediction
from ferry.errors import ConfigError, NotFoundError
from ferry.manifest import MODEL_FILE, Manifest, TensorSpec, sha256_of, write_manifest

START = datetime(2026, 1, 1, tzinfo=UTC)
BLANK = np.zeros((28, 28), np.uint8)


def answered(digit: int, truth: int, *, at_s: float = 0.0, total_s: float = 0.01, batch: str = "t.0") -> Answer:
    scores = tuple(0.91 if index == digit else 0.01 for index in range(10))
    prediction = Prediction(
        "id",
        "local/mnist",
        "1",
        "succeeded",
        created_at=START + timedelta(seconds=at_s),
        completed_at=START + timedelta(seconds=at_s + total_s),
        total_time_s=total_s,
        batch_id=batch,
    )
    return Answer(BLANK, truth, prediction, scores)


def failed(fault: str) -> Answer:
    return Answer(BLANK, 3, None, fault=fault)


# --- figures


def test_summary_counts_what_succeeded_and_why_the_rest_did_not() -> None:
    summary = summarize([answered(1, 1), failed("queue_full: x"), failed("queue_full: x"), failed("model_error: y")])
    assert (summary.n_jobs, summary.n_succeeded) == (4, 1)
    assert summary.faults == {"queue_full: x": 2, "model_error: y": 1}


def test_summary_takes_accuracy_over_what_succeeded() -> None:
    summary = summarize([answered(1, 1), answered(2, 2), answered(3, 3), answered(4, 9), failed("x")])
    assert summary.accuracy == 0.75


def test_summary_takes_speed_from_first_submit_to_last_result() -> None:
    answers = [answered(1, 1, at_s=0.0, total_s=0.5), answered(1, 1, at_s=1.5, total_s=0.5)]
    assert summarize(answers).jobs_per_s == 1.0


def test_summary_divides_rows_by_distinct_batches() -> None:
    answers = [answered(1, 1, batch=batch) for batch in ("a.0", "a.0", "a.0", "a.1", "b.0", "b.0")]
    summary = summarize(answers)
    assert (summary.n_batches, summary.rows_per_batch) == (3, 2.0)


def test_summary_takes_percentiles_of_the_servers_times() -> None:
    summary = summarize([answered(1, 1, total_s=ms / 1000) for ms in range(1, 102)])
    assert summary.p50_ms == pytest.approx(51)
    assert summary.p99_ms == pytest.approx(100)


@pytest.mark.parametrize("answers", [[], [failed("x")]])
def test_summary_when_nothing_succeeded_has_no_figures(answers: list[Answer]) -> None:
    summary = summarize(answers)
    assert summary.accuracy is None
    assert summary.jobs_per_s is None
    assert summary.rows_per_batch is None
    assert summary.p99_ms is None


def test_shown_are_the_first_right_ones_and_a_wrong_one_at_the_end() -> None:
    wrong = answered(4, 9)
    answers = [answered(0, 0), failed("x"), wrong, answered(1, 1), answered(2, 2), answered(5, 6)]
    assert pick_shown(answers) == [answers[0], answers[3], wrong]


def test_shown_when_all_are_right_are_the_first_three() -> None:
    answers = [answered(digit, digit) for digit in range(5)]
    assert pick_shown(answers) == answers[:3]


def test_shown_when_all_failed_are_none() -> None:
    assert pick_shown([failed("x")]) == []


# --- what is printed


def printed(show: Callable[[Console], None]) -> str:
    file = io.StringIO()
    show(Console(file=file, highlight=False, soft_wrap=True))
    return file.getvalue()


def test_table_shows_every_figure_without_escape_codes_in_a_log() -> None:
    text = printed(lambda console: console.print(table_of(summarize([answered(1, 1, total_s=0.25), failed("x")]))))
    assert "\x1b" not in text
    for label, value in [
        ("jobs succeeded", "1"),
        ("jobs failed", "1"),
        ("accuracy", "100.0%"),
        ("jobs per second", "4"),
        ("mean rows per batch", "1.0"),
        ("submit to result, p50", "250 ms"),
        ("submit to result, p99", "250 ms"),
    ]:
        assert any(label in line and value in line for line in text.splitlines())


def test_table_when_there_are_no_figures_shows_dashes() -> None:
    assert "-" in printed(lambda console: console.print(table_of(summarize([failed("x")]))))


def test_digits_have_their_reading_and_its_probability_below() -> None:
    text = printed(lambda console: show_digits(console, [answered(7, 7), answered(4, 9)]))
    assert "read as 7 (91.0%)" in text
    assert "read as 4 (91.0%), is 9" in text


def test_digits_when_there_are_none_print_nothing() -> None:
    assert printed(lambda console: show_digits(console, [])) == ""


# --- the folder


def end_with(parent: Path, error: BaseException) -> tuple[list[Path], str]:
    """Use a demo folder until `error`; return what is left of it and what was printed."""
    file = io.StringIO()

    def use() -> None:
        with demo_folder(parent / "data", Console(file=file, soft_wrap=True)) as folder:
            (folder / "log").touch()
            raise error

    with pytest.raises(type(error)):
        use()
    return list((parent / "data").iterdir()), file.getvalue()


@pytest.mark.parametrize("error", [typer.Exit(0), KeyboardInterrupt()])
def test_folder_when_all_went_well_is_removed(tmp_path: Path, error: BaseException) -> None:
    assert end_with(tmp_path, error) == ([], "")


@pytest.mark.parametrize("error", [typer.Exit(1), ConfigError("x"), ValueError()])
def test_folder_when_something_failed_is_kept_and_named(tmp_path: Path, error: BaseException) -> None:
    (kept,), text = end_with(tmp_path, error)
    assert kept.name.startswith("demo-")
    assert str(kept) in text


# --- digits and traffic


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    for version in ("1", "2"):
        folder = tmp_path / "mnist" / version
        (folder / "samples").mkdir(parents=True)
        (folder / MODEL_FILE).write_bytes(b"onnx")
        np.savez_compressed(
            folder / "samples" / "digits.npz",
            x=np.arange(3 * 28 * 28, dtype=np.uint8).reshape(3, 28, 28),
            y=np.array([3, 1, 4], np.uint8),
        )
        write_manifest(
            Manifest(
                name="mnist",
                version=version,
                inputs=(TensorSpec(name="pixels", dtype="float32", shape=(None, 28, 28)),),
                outputs=(TensorSpec(name="scores", dtype="float32", shape=(None, 10)),),
                sha256=sha256_of(folder / MODEL_FILE),
            ),
            folder,
        )
    return tmp_path


def test_samples_come_with_the_newest_version(models_dir: Path) -> None:
    samples = read_samples(models_dir, "mnist")
    assert (samples.model, samples.input_name, samples.output_name) == ("mnist:2", "pixels", "scores")
    assert samples.images.shape == (3, 28, 28)


def test_samples_when_more_are_asked_for_begin_again(models_dir: Path) -> None:
    taken = read_samples(models_dir, "mnist").take(5)
    assert taken.truths.tolist() == [3, 1, 4, 3, 1]
    assert len(taken.images) == 5


def test_samples_when_the_model_is_unknown_say_so(models_dir: Path) -> None:
    with pytest.raises(NotFoundError, match="no model 'other'"):
        read_samples(models_dir, "other")


def test_samples_when_the_model_brings_none_say_where_they_belong(models_dir: Path) -> None:
    (models_dir / "mnist" / "2" / "samples" / "digits.npz").unlink()
    with pytest.raises(ConfigError, match=r"samples/digits\.npz"):
        read_samples(models_dir, "mnist")


class FakeApi:
    """Reads a digit as the value of its first pixel; job ids are `job-<pixel>`."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, object]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        job = {"id": "job", "model": "local/mnist", "version": "1", "status": "starting"}
        if request.method == "POST":
            body = orjson.loads(request.content)
            self.bodies.append(body)
            digit = round(body["input"]["x"][0][0] * 255)
            if digit == 8:
                return httpx.Response(422, json={"code": "invalid_input", "detail": "no eights"})
            return httpx.Response(202, json=job | {"id": f"job-{digit}"})
        digit = int(request.url.path[-1])
        if digit == 9:
            return httpx.Response(200, json=job | {"status": "failed", "error": "boom", "error_code": "model_error"})
        scores = [float(index == digit) for index in range(10)]
        return httpx.Response(200, json=job | {"status": "succeeded", "output": {"p": scores}})


@pytest.fixture
def samples() -> Samples:
    images = np.zeros((10, 28, 28), np.uint8)
    images[:, 0, 0] = range(10)
    return Samples("mnist:1", "x", "p", images, np.array([0, 1, 2, 3, 4, 5, 6, 0, 8, 9], np.uint8))


def test_send_all_sends_each_digit_as_a_job_and_keeps_their_order(samples: Samples) -> None:
    api, progress = FakeApi(), Progressing()
    answers = asyncio.run(send_all("http://api", samples, progress, httpx.MockTransport(api)))
    assert len(api.bodies) == 10
    assert {body["version"] for body in api.bodies} == {"mnist:1"}
    assert [answer.truth for answer in answers] == samples.truths.tolist()
    assert [answer.is_right for answer in answers] == [True] * 7 + [False] * 3
    assert answers[8].fault == "invalid_input: no eights"
    assert answers[9].fault == "model_error: boom"
    assert (progress.n_submitted, progress.n_finished) == (10, 10)


def test_send_all_when_jobs_outnumber_the_requests_under_way_sends_them_all(
    samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_traffic, "MAX_IN_FLIGHT", 2)
    api = FakeApi()
    many = replace(samples, images=samples.images[:7], truths=samples.truths[:7]).take(50)
    answers = asyncio.run(send_all("http://api", many, Progressing(), httpx.MockTransport(api)))
    assert len(api.bodies) == 50
    assert all(answer.is_right for answer in answers)
