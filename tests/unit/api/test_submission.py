import asyncio

import numpy as np
import pytest

from api import submission
from api.catalog import Entry
from api.context import Context
from api.job_bodies import PackedRows, packed
from ferry.errors import QueueFullError, ShuttingDownError, WaitTimeoutError
from ferry.jobs import State
from ferry.json_tensors import Rows
from ferry.origins import new_origin
from ferry.queue.keys import SMALL_INPUT_BYTES
from tests.manifests import manifest, spec
from tests.unit.api.conftest import Api

pytestmark = pytest.mark.anyio


def nobody() -> Context:
    return Context(new_origin())


def rows(n_rows: int = 2, *, single: bool = False) -> PackedRows:
    return packed(Entry(manifest()).inputs, Rows([np.ones((n_rows, 3), np.float32)], n_rows, single))


@pytest.mark.parametrize("now_us", [1_800_000_000_000_000, 1_800_000_000_123_456, 1_800_000_000_999_999])
async def test_run_when_accepted_then_the_record_is_what_the_queue_would_say_without_asking_it(
    api: Api, now_us: int
) -> None:
    api.queue.now_us = now_us
    record = await submission.run(api.services, Entry(manifest()), rows(single=True), context=nobody(), wait_s=None)
    assert record == await api.queue.read(record.id)
    assert record.state is State.QUEUED
    assert record.single is True


async def test_run_when_the_input_is_larger_than_an_echo_then_the_record_is_without_it(api: Api) -> None:
    wide = manifest("wide", inputs=(spec("x", "uint8", None),))
    await api.add_model(wide)
    for width, has_input in ((SMALL_INPUT_BYTES - 8, True), (SMALL_INPUT_BYTES - 7, False)):
        value = packed(Entry(wide).inputs, Rows([np.zeros((1, width), np.uint8)], 1, single=False))
        record = await submission.run(api.services, Entry(wide), value, context=nobody(), wait_s=None)
        assert (record.input is not None) is has_input
        assert record == await api.queue.read(record.id)


async def test_run_when_done_in_time_then_the_final_record(api: Api) -> None:
    running = asyncio.ensure_future(
        submission.run(api.services, Entry(manifest()), rows(), context=nobody(), wait_s=30)
    )
    await asyncio.sleep(0.1)
    api.serve()
    record = await running
    assert record.state is State.SUCCEEDED
    assert record == await api.queue.read(record.id)


async def test_run_when_the_time_is_up_then_the_record_as_it_was_accepted(api: Api) -> None:
    record = await submission.run(api.services, Entry(manifest()), rows(), context=nobody(), wait_s=3)
    assert record.state is State.QUEUED
    assert asyncio.get_running_loop().time() == pytest.approx(3)


async def test_run_when_not_accepted_then_nobody_is_left_waiting(api: Api) -> None:
    api.queue.has_memory = False
    with pytest.raises(QueueFullError):
        await submission.run(api.services, Entry(manifest()), rows(), context=nobody(), wait_s=30)
    assert api.services.waiters._futures == {}


async def test_output_of_when_waits_were_released_then_told_where_the_job_goes_on(api: Api) -> None:
    running = asyncio.ensure_future(
        submission.run(api.services, Entry(manifest()), rows(), context=nobody(), wait_s=30)
    )
    await asyncio.sleep(0.1)
    api.services.waiters.release()
    record = await running
    with pytest.raises(ShuttingDownError, match=f"poll /ml/v1/predictions/{record.id}"):
        submission.output_of(api.services, record, 30, pointer="#/x", prefix="/ml")
    api.serve()
    done = await api.queue.read(record.id)
    assert submission.output_of(api.services, done, 30, pointer="#/x", prefix="") == done.output


async def test_output_of_when_the_time_is_up_then_told_where_to_poll(api: Api) -> None:
    record = await submission.run(api.services, Entry(manifest()), rows(), context=nobody(), wait_s=3)
    with pytest.raises(WaitTimeoutError, match=f"not done within 3 s.*poll /v1/predictions/{record.id}"):
        submission.output_of(api.services, record, 3, pointer="#/x", prefix="")
