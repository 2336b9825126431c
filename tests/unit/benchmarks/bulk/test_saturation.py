import time
from pathlib import Path

import pytest

from benchmarks.bulk.batch_client import BatchClient
from benchmarks.bulk.saturation import N_OPEN, Feed, rows_per_s, saturated
from tests.processes import GIVE_UP_S
from tests.unit.benchmarks.bulk.fake_ferry import fake_ferry


def test_run_when_a_batch_completes_then_its_answers_are_here_and_no_file_is_left(tmp_path: Path) -> None:
    source, answers = tmp_path / "rows.npy", tmp_path / "answers.npy"
    source.write_bytes(b"rows" * 1000)
    with fake_ferry() as (url, state), BatchClient(url) as client:
        batch = client.run(source, model="mnist", output_format="npy", answers=answers)
    assert batch["status"] == "completed"
    assert answers.read_bytes() == source.read_bytes()
    assert state.files == {}


def test_saturated_when_batches_complete_then_others_follow_and_none_is_left(tmp_path: Path) -> None:
    source = tmp_path / "rows.npy"
    source.write_bytes(b"rows")
    with fake_ferry() as (url, state):
        with BatchClient(url) as client:
            feed = Feed(url, client.upload(source), "cnn", "npy")
        give_up_s = time.monotonic() + GIVE_UP_S
        with saturated(feed) as bulk:
            while len(state.batches) < 2 * N_OPEN and time.monotonic() < give_up_s:
                time.sleep(0.01)
        assert len(state.batches) >= 2 * N_OPEN
        assert {batch["status"] for batch in state.batches.values()} <= {"completed", "cancelled"}
        assert list(state.files) == [feed.file_id]
    assert rows_per_s(bulk.samples) > 0
    assert bulk.between(0.0, 0.0) == []


def test_saturated_when_a_batch_cannot_start_then_it_is_said() -> None:
    with fake_ferry() as (url, _):
        pass
    with pytest.raises(RuntimeError, match="did not come under way"), saturated(Feed(url, "file-1", "cnn", "npy")):
        pass
