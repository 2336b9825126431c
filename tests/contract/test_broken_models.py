"""What workers report as broken, in memory and on a real Redis."""

from collections.abc import Collection

import pytest

from ferry.queue.broken_models import MAX_REPORTED, BrokenModel
from ferry.queue.consumer import Consumer
from ferry.queue.keys import BROKEN_KEPT_MS
from tests.contract.conftest import LEASE_S, MemoryBench, RedisBench
from tests.namespaces import KEYS, client_of

pytestmark = pytest.mark.anyio


def report_as(
    bench: MemoryBench | RedisBench, worker: str, broken: dict[tuple[str, str], str],
    before: Collection[tuple[str, str]] = (),
) -> None:  # fmt: skip
    if isinstance(bench, RedisBench):
        Consumer(client_of(bench.redis), worker=worker, lease_s=LEASE_S).report_broken(broken, before)
        return
    own, bench.queue.worker = bench.queue.worker, worker
    bench.queue.report_broken(broken)
    bench.queue.worker = own


def age_reports(bench: MemoryBench | RedisBench, worker: str) -> None:
    if isinstance(bench, MemoryBench):
        at_ms, models = bench.queue.broken_by[worker]
        bench.queue.broken_by[worker] = (at_ms - BROKEN_KEPT_MS - 1, models)
        return
    for field, value in bench.redis.hgetall(KEYS.broken).items():
        if field.startswith(f"{worker} ".encode()):
            at_ms, _, reason = value.partition(b" ")
            bench.redis.hset(KEYS.broken, field, b"%d %s" % (int(at_ms) - BROKEN_KEPT_MS - 1, reason))


async def test_broken_when_two_workers_report_then_joined_by_model(bench: MemoryBench | RedisBench) -> None:
    report_as(bench, "w1", {("toy", "2"): "model.onnx is missing", ("odd name", "x"): "ünfit"})
    report_as(bench, "w2", {("toy", "2"): "model.onnx is missing"})
    assert await bench.producer.broken() == [
        BrokenModel("odd name", "x", "ünfit", 1),
        BrokenModel("toy", "2", "model.onnx is missing", 2),
    ]


async def test_broken_when_a_worker_reports_again_then_its_report_before_is_replaced(
    bench: MemoryBench | RedisBench,
) -> None:
    report_as(bench, "w1", {("a", "1"): "one", ("b", "1"): "two"})
    report_as(bench, "w11", {("a", "1"): "of another worker"})
    report_as(bench, "w1", {("b", "1"): "three"}, [("a", "1"), ("b", "1")])
    assert [(each.key, each.reason) for each in await bench.producer.broken()] == [
        (("a", "1"), "of another worker"),
        (("b", "1"), "three"),
    ]
    report_as(bench, "w1", {}, [("b", "1")])
    report_as(bench, "w11", {}, [("a", "1")])
    assert await bench.producer.broken() == []


async def test_broken_when_a_worker_is_gone_then_its_report_ends(bench: MemoryBench | RedisBench) -> None:
    report_as(bench, "w1", {("a", "1"): "one"})
    report_as(bench, "w2", {("b", "1"): "two"})
    age_reports(bench, "w1")
    assert [each.key for each in await bench.producer.broken()] == [("b", "1")]
    report_as(bench, "w2", {("b", "1"): "two"})
    if isinstance(bench, RedisBench):
        bench.keeper.lapse()
        assert list(bench.redis.hgetall(KEYS.broken)) == [b"w2 b:1"]
        assert 0 < bench.redis.pttl(KEYS.broken) <= 2 * BROKEN_KEPT_MS


async def test_broken_when_a_folder_holds_many_then_so_many_are_reported(bench: MemoryBench | RedisBench) -> None:
    if isinstance(bench, MemoryBench):
        pytest.skip("the limit is in the arguments of the script")
    report_as(bench, "w1", {(f"m{number}", "1"): "x" for number in range(MAX_REPORTED + 5)} | {("\udcff", "1"): "y"})
    assert len(await bench.producer.broken()) == MAX_REPORTED
    report_as(bench, "w1", {("\udcff", "1"): "no text"}, [(f"m{number}", "1") for number in range(MAX_REPORTED)])
    assert [each.reason for each in await bench.producer.broken()] == ["no text"]


async def test_models_when_a_registration_is_damaged_then_left_out_and_logged_once(
    bench: MemoryBench | RedisBench, caplog: pytest.LogCaptureFixture
) -> None:
    if isinstance(bench, MemoryBench):
        pytest.skip("only a real Redis holds text")
    bench.redis.sadd(KEYS.models, "half:1", "gone:1")
    bench.redis.hset(KEYS.model + "half:1", "manifest", '{"name": "ha')
    for _ in range(2):
        assert [status.manifest.ref for status in await bench.producer.models()] == ["toy:1"]
    assert [message.split(" is ")[0] for message in caplog.messages] == [
        "registration_damaged: gone:1",
        "registration_damaged: half:1",
    ]
