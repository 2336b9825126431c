"""A model version is its content: who gets its jobs when workers serve different files under one version."""

import pytest

from ferry.errors import InvalidInputError
from ferry.manifest import ExecutionMode, Manifest
from ferry.profile import Tuning
from ferry.queue.keys import LIVE_MS
from tests.contract.conftest import LEASE_S, MemoryBench, RedisBench
from tests.manifests import manifest, submission
from tests.namespaces import KEYS

pytestmark = pytest.mark.anyio
Bench = MemoryBench | RedisBench
TOY = ("toy", "1")
OLD = manifest()
NEW = manifest(labels=("no", "yes"))
THIRD = manifest(labels=("yes", "no"))


def beat(bench: Bench, worker: str, served: Manifest) -> str:
    """Send a worker's heartbeat, register where it is asked for, and say what became of it."""
    heard = bench.beat_as(worker, {TOY: served.digest})
    if TOY in heard.unknown:
        bench.announce(served)
        return "registered"
    return "other" if TOY in heard.other else "serves"


async def status(bench: Bench):
    return next(each for each in await bench.producer.models() if each.manifest.ref == "toy:1")


async def test_claim_when_another_digest_is_registered_then_nothing_and_the_job_waits(bench: Bench) -> None:
    await bench.submit(submission())
    assert bench.worker.claim("toy", "1", max_rows=8, digest=NEW.digest).jobs == ()
    assert len(bench.worker.claim("toy", "1", max_rows=8, digest=OLD.digest).jobs) == 1


async def test_settle_and_claim_when_another_digest_is_registered_then_settled_and_nothing_more(bench: Bench) -> None:
    await bench.submit(submission(), submission(rows=8))
    claim = bench.claim(max_rows=1)
    recorded, more, _ = bench.worker.settle_and_claim(claim, "toy", "1", [], max_rows=8, wait_s=0.01, digest=NEW.digest)
    assert (recorded, more.jobs) == (0, ())


async def test_beat_when_two_workers_differ_then_the_first_serves_and_the_other_is_counted(bench: Bench) -> None:
    assert beat(bench, "w1", OLD) == "serves"
    assert beat(bench, "w2", NEW) == "other"
    seen = await status(bench)
    assert (seen.manifest.digest, seen.live_workers, seen.other_workers) == (OLD.digest, 1, 1)


async def test_beat_when_the_api_registered_first_then_a_worker_with_other_files_takes_over(bench: Bench) -> None:
    await bench.producer.register(manifest("fresh"))
    served = manifest("fresh", labels=("no", "yes"))
    heard = bench.beat_as("w1", {("fresh", "1"): served.digest})
    assert ("fresh", "1") in heard.unknown
    bench.announce(served)
    (seen,) = [each for each in await bench.producer.models() if each.manifest.name == "fresh"]
    assert seen.manifest.digest == served.digest


async def test_beat_when_files_are_replaced_on_all_workers_then_the_new_ones_take_over_after_a_lease(
    bench: Bench,
) -> None:
    for worker in ("w1", "w2"):
        assert beat(bench, worker, OLD) == "serves"
    assert beat(bench, "w1", NEW) == "other"
    assert beat(bench, "w2", OLD) == "serves"
    assert beat(bench, "w2", NEW) == "other"
    await bench.submit(submission())
    assert bench.worker.claim("toy", "1", max_rows=8, digest=NEW.digest).jobs == ()
    bench.pass_time_since_served()
    assert beat(bench, "w1", NEW) == "registered"
    assert [beat(bench, worker, NEW) for worker in ("w1", "w2")] == ["serves", "serves"]
    seen = await status(bench)
    assert (seen.manifest.digest, seen.live_workers, seen.other_workers) == (NEW.digest, 2, 0)
    assert len(bench.worker.claim("toy", "1", max_rows=8, digest=NEW.digest).jobs) == 1


async def test_beat_when_the_workers_do_not_agree_then_none_takes_over(bench: Bench) -> None:
    bench.pass_time_since_served()
    assert beat(bench, "w1", NEW) == "registered"
    assert beat(bench, "w1", NEW) == "serves"
    bench.pass_time_since_served()
    assert beat(bench, "w2", THIRD) == "registered"
    assert beat(bench, "w1", NEW) == "other"
    assert beat(bench, "w3", OLD) == "other"
    bench.pass_time_since_served()
    assert beat(bench, "w1", NEW) == "other"
    assert (await status(bench)).manifest.digest == THIRD.digest


async def test_register_when_another_digest_is_served_then_nothing_changes(bench: Bench) -> None:
    bench.announce(NEW)
    assert (await status(bench)).manifest.digest == OLD.digest


async def test_switch_when_rows_influence_each_other_then_every_worker_hears_and_it_stays(bench: Bench) -> None:
    assert bench.worker.switch("toy", "1", digest=OLD.digest, reason="job j moved by 0.5")
    assert not bench.worker.switch("toy", "1", digest=OLD.digest, reason="again")
    heard = bench.beat_as("w2", {TOY: OLD.digest})
    assert heard.switched == {TOY: "job j moved by 0.5"}
    bench.announce(OLD)
    assert (await status(bench)).switched == "job j moved by 0.5"
    assert bench.worker.switched("toy", "1", digest=OLD.digest) == "job j moved by 0.5"
    assert bench.worker.switched("toy", "1", digest=NEW.digest) == ""
    assert bench.worker.switched("ghost", "1", digest=NEW.digest) == ""


async def test_tune_when_a_check_switched_the_model_then_refused_with_the_reason(bench: Bench) -> None:
    bench.worker.switch("toy", "1", digest=OLD.digest, reason="job j moved by 0.5")
    with pytest.raises(InvalidInputError, match=r"toy:1 runs one job at a time, .*: job j moved by 0.5"):
        bench.admin.tune("toy", "1", Tuning(max_rows=2))


async def test_switch_when_another_digest_is_registered_then_nothing(bench: Bench) -> None:
    assert not bench.worker.switch("toy", "1", digest=NEW.digest, reason="no")
    assert (await status(bench)).switched == ""


async def test_switch_when_another_digest_takes_over_then_it_starts_unswitched(bench: Bench) -> None:
    bench.worker.switch("toy", "1", digest=OLD.digest, reason="why")
    bench.pass_time_since_served()
    assert beat(bench, "w1", NEW) == "registered"
    assert (await status(bench)).switched == ""


def test_digest_when_the_mode_differs_then_another_model() -> None:
    assert manifest(mode=ExecutionMode.WHOLE_JOB).digest != OLD.digest
    assert manifest(max_rows=3).digest == OLD.digest
    assert LEASE_S * 1000 <= LIVE_MS
    assert KEYS.other.startswith(KEYS.prefix)
