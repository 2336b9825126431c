"""api.job_requests: which bodies are parsed here, which by the body reader, in which order, and how many wait."""

import asyncio
import json

import numpy as np
import pytest
from fastapi import Request
from starlette.requests import ClientDisconnect

from api.catalog import Entry
from api.job_bodies import HEADER_LENGTH, JobInputs, Kind
from api.job_requests import (
    LARGE_BYTES_PER_S,
    LARGE_PATIENCE_S,
    MAX_WAITING,
    SMALL_BYTES,
    JobRequests,
)
from api.loop_passes import LoopPasses
from api.problems import BodyTooSlowError
from ferry.errors import FerryError, InvalidInputError, MalformedRequestError, NotFoundError, ServerBusyError
from ferry.manifest import Manifest
from tests.fakes.body_helper import FakeHelper
from tests.manifests import manifest, spec
from tests.unit.api.test_bodies import request

pytestmark = pytest.mark.anyio

ROWS = [[1.0, 2.0, 3.0]] * 10
MANY_ROWS = [[1.25, 2.5, 3.75]] * 50
ENTRY = Entry(manifest(max_job_rows=10**6))


def prediction(rows: object = ROWS, padding: int = 0) -> bytes:
    return json.dumps({"model": "toy", "version": "1", "input": rows}).encode() + b" " * padding


async def read(requests: JobRequests, body: bytes, kind: Kind = Kind.PREDICTION, entry: Entry = ENTRY) -> JobInputs:
    async with requests.opened(request([body]), {}, kind) as opened:
        return await opened.read(entry)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_opened_when_the_body_is_small_then_the_body_reader_is_not_asked() -> None:
    helper = FakeHelper()
    inputs = await read(JobRequests(10**6, helper), prediction())
    assert helper.asked == []
    assert inputs.jobs[0].n_rows == 10


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Kind.PREDICTION, {"model": "toy", "input": MANY_ROWS}),
        (Kind.PREDICTION, {"version": "toy:1", "input": [1, 2, 3]}),
        (Kind.PREDICTION, {"model": "toy", "input": [{"x": [1, 2, 3]}, {"x": [4, 5, 6]}]}),
        (Kind.MANY, {"model": "toy", "inputs": [MANY_ROWS, [1, 2, 3]], "ids": ["a", "b"]}),
        (Kind.MANY, {"model": "toy", "inputs": [ROWS]}),
        (Kind.PREDICT, {"x": [1, 2, 3]}),
        (Kind.PREDICT, {"x": [1, 2, 3], "model": "toy", "version": "1"}),
        (Kind.INFER, {
            "id": "mine", "parameters": {"priority": 1, "timeout": 5, "other": [1]},
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 3], "data": [1, 2, 3, 4, 5, 6]}],
            "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
        }),
    ],
)  # fmt: skip
async def test_opened_when_the_body_is_large_then_the_same_inputs_as_of_a_small_one(kind: Kind, body: object) -> None:
    helper, found = FakeHelper(), []
    requests = JobRequests(10**6, helper)
    raw = json.dumps(body).encode()
    for padding in (0, SMALL_BYTES):
        async with requests.opened(request([raw + b" " * padding]), {}, kind) as opened:
            inputs = await opened.read(ENTRY)
            found.append((opened.reference, inputs.jobs, inputs.id, inputs.outputs))
            parameters = {name: inputs.parameters.get(name) for name in ("priority", "timeout")}
            found[-1] += (parameters,)
    assert found[0] == found[1]
    assert helper.asked == ["kind", "read"]


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        (b"{" + b" " * SMALL_BYTES, MalformedRequestError, "not JSON"),
        (b"[]" + b" " * SMALL_BYTES, InvalidInputError, "must be a JSON object"),
        (prediction([["a"] * 3] * 10_000), InvalidInputError, "expected a number"),
        (b'{"model": "toy", "k": 1}' + b" " * SMALL_BYTES, InvalidInputError, "unknown field 'k'"),
    ],
)
async def test_opened_when_a_large_body_is_wrong_then_the_error_of_a_small_one(
    body: bytes, error: type[FerryError], message: str
) -> None:
    requests = JobRequests(10**6, FakeHelper())
    with pytest.raises(error, match=message):
        await read(requests, body)
    assert (await read(requests, prediction(padding=SMALL_BYTES))).jobs[0].n_rows == 10


async def test_opened_when_the_tail_of_a_v2_body_is_large_then_only_text_is_for_the_body_reader() -> None:
    numbers = np.ones((30_000, 3), np.float32).tobytes()
    head = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [30_000, 3],
                                   "parameters": {"binary_data_size": len(numbers)}}]}).encode()  # fmt: skip
    helper = FakeHelper()
    requests = JobRequests(10**6, helper)
    length = str(len(head))
    async with requests.opened(request([head + numbers]), {}, Kind.INFER, json_length=length) as opened:
        assert (await opened.read(ENTRY)).jobs[0].n_rows == 30_000
    assert helper.asked == []

    text = b"\x01\x00\x00\x00a" * 20_000
    head = head.replace(b"FP32", b"BYTES").replace(b"[30000, 3]", b"[20000, 1]").replace(b"360000", b"100000")
    texts = Entry(manifest(inputs=(spec("x", "string", 1),), max_job_rows=10**6))
    opening = requests.opened(request([head + text]), {}, Kind.INFER, json_length=str(len(head)), has_text=True)
    async with opening as opened:
        assert (await opened.read(texts)).jobs[0].n_rows == 20_000
    assert helper.asked == ["kind", "read"]


@pytest.mark.parametrize("header", ["x", "-1", "9" * 5000, "1000000"])
async def test_opened_when_the_length_of_the_json_is_no_length_then_malformed(header: str) -> None:
    opening = JobRequests(10**6, FakeHelper()).opened(request([b"{}"]), {}, Kind.INFER, json_length=header)
    with pytest.raises(MalformedRequestError, match=HEADER_LENGTH):
        async with opening:
            pass


async def test_opened_when_large_bodies_come_together_then_one_at_a_time_in_order_and_small_ones_at_once() -> None:
    helper = FakeHelper()
    helper.gate.clear()
    requests = JobRequests(10**6, helper)
    done: list[str] = []

    async def run(name: str, padding: int) -> None:
        await read(requests, prediction(padding=padding))
        done.append(name)

    tasks = [asyncio.create_task(run(f"large {place}", SMALL_BYTES)) for place in range(3)]
    await settle()
    await run("small", 0)
    assert helper.asked == ["kind"]
    helper.gate.set()
    await asyncio.gather(*tasks)
    assert done == ["small", "large 0", "large 1", "large 2"]
    assert helper.asked == ["kind", "read"] * 3


async def test_opened_when_too_many_large_bodies_wait_then_busy_until_one_is_done() -> None:
    helper = FakeHelper()
    helper.gate.clear()
    requests = JobRequests(10**8, helper)
    tasks = [asyncio.create_task(read(requests, prediction(padding=SMALL_BYTES))) for _ in range(MAX_WAITING + 1)]
    await settle()
    with pytest.raises(ServerBusyError, match=f"the limit of an API process is {MAX_WAITING}") as caught:
        await read(requests, prediction(padding=SMALL_BYTES))
    assert caught.value.retry_after_s
    helper.gate.set()
    await asyncio.gather(*tasks)
    await read(requests, prediction(padding=SMALL_BYTES))


async def test_opened_when_large_bodies_take_too_many_bytes_then_busy_until_one_is_done() -> None:
    helper = FakeHelper()
    helper.gate.clear()
    requests = JobRequests(SMALL_BYTES + 1000, helper)
    body = prediction(padding=SMALL_BYTES + 100)
    tasks = [asyncio.create_task(read(requests, body)) for _ in range(4)]
    await settle()
    with pytest.raises(ServerBusyError, match=f"limit of an API process is {4 * (SMALL_BYTES + 1000)}"):
        await read(requests, body)
    assert (await read(requests, prediction())).jobs[0].n_rows == 10
    helper.gate.set()
    await asyncio.gather(*tasks)
    await read(requests, body)


@pytest.mark.parametrize(("late_s", "is_refused"), [(-1.0, False), (1.0, True)])
async def test_opened_when_a_large_body_comes_slowly_then_refused_after_its_time_and_nothing_is_held(
    late_s: float, *, is_refused: bool
) -> None:
    times, helper = iter([0.0, LARGE_PATIENCE_S + (SMALL_BYTES + 1001) / LARGE_BYTES_PER_S + late_s]), FakeHelper()
    requests = JobRequests(4 * SMALL_BYTES, helper, clock=lambda: next(times))
    body = prediction(padding=2 * SMALL_BYTES)[: SMALL_BYTES + 1001]
    pieces = [body[:-1000], body[-1000:]]
    async with asyncio.timeout(10):
        try:
            async with requests.opened(request(pieces), {}, Kind.PREDICTION) as opened:
                assert (await opened.read(ENTRY)).jobs[0].n_rows == 10
            refused = False
        except BodyTooSlowError as error:
            refused = "send fewer rows a job, or a file" in error.detail
    assert refused is is_refused
    requests.hold(16 * SMALL_BYTES).cancel()  # all of the room


@pytest.mark.parametrize("ends_at", [(0,), (1,)])
async def test_read_when_the_body_reader_ends_once_then_a_second_try(ends_at: tuple[int, ...]) -> None:
    helper = FakeHelper(ends_at)
    inputs = await read(JobRequests(10**6, helper), prediction(padding=SMALL_BYTES))
    assert inputs.jobs[0].n_rows == 10
    assert helper.asked[-2:] == ["kind", "read"]


@pytest.mark.parametrize("ends_at", [(0, 1), (0, 2), (1, 2), (1, 3)])
async def test_read_when_the_body_reader_ends_twice_then_busy(ends_at: tuple[int, ...]) -> None:
    requests = JobRequests(10**6, FakeHelper(ends_at))
    with pytest.raises(ServerBusyError, match="ended twice"):
        await read(requests, prediction(padding=SMALL_BYTES))
    assert (await read(requests, prediction(padding=SMALL_BYTES))).jobs[0].n_rows == 10


async def test_read_when_many_large_bodies_are_for_one_model_then_its_manifest_is_written_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written, entry, requests = [], Entry(manifest(max_job_rows=10**6)), JobRequests(10**6, FakeHelper())
    write = Manifest.model_dump_json

    def count(self: Manifest) -> str:
        written.append(self.name)
        return write(self)

    monkeypatch.setattr(Manifest, "model_dump_json", count)
    for _ in range(3):
        await read(requests, prediction(padding=SMALL_BYTES), entry=entry)
    assert written == ["toy"]


async def test_opened_when_the_inputs_are_not_read_then_the_body_reader_forgets_them() -> None:
    helper = FakeHelper()
    requests = JobRequests(10**6, helper)
    async with requests.opened(request([prediction(padding=SMALL_BYTES)]), {}, Kind.PREDICTION):
        pass
    assert helper.asked == ["kind", "forget"]


async def test_opened_when_a_waiting_request_is_canceled_then_the_others_go_on() -> None:
    helper = FakeHelper()
    helper.gate.clear()
    requests = JobRequests(10**6, helper)
    first, second, third = (
        asyncio.create_task(read(requests, prediction(padding=SMALL_BYTES))) for _ in range(3)
    )  # fmt: skip
    await settle()
    second.cancel()
    await settle()
    helper.gate.set()
    assert (await first).jobs
    assert (await third).jobs
    assert second.cancelled()


class SlowCatalog:
    """Knows nothing, and finds a model when it may."""

    def __init__(self) -> None:
        self.may_find = asyncio.Event()
        self.error: FerryError | None = None

    def peek(self, name: str, version: str | None = None) -> Entry | None:
        return None

    async def find(self, name: str, version: str | None = None) -> Entry:
        await self.may_find.wait()
        if self.error:
            raise self.error
        return ENTRY


@pytest.mark.parametrize("error", [None, NotFoundError("no model")])
async def test_find_when_the_model_is_not_known_then_others_are_read_meanwhile(error: FerryError | None) -> None:
    helper, catalog = FakeHelper(), SlowCatalog()
    catalog.error = error
    requests = JobRequests(10**6, helper)

    async def read_unknown() -> JobInputs:
        async with requests.opened(request([prediction(padding=SMALL_BYTES)]), {}, Kind.PREDICTION) as opened:
            return await opened.read(await opened.find(catalog, "toy", "1"))

    unknown = asyncio.create_task(read_unknown())
    await settle()
    assert (await read(requests, prediction(padding=SMALL_BYTES))).jobs
    catalog.may_find.set()
    if error:
        with pytest.raises(NotFoundError):
            await unknown
    else:
        assert (await unknown).jobs[0].n_rows == 10
    assert (await read(requests, prediction(padding=SMALL_BYTES))).jobs


async def test_opened_when_the_client_goes_before_its_turn_then_its_body_is_not_read() -> None:
    helper = FakeHelper()
    helper.gate.clear()
    requests = JobRequests(10**6, helper)
    gone = asyncio.Event()

    async def go() -> None:
        sent = request([prediction(padding=SMALL_BYTES)])
        body = await sent.receive()
        messages = [body]

        async def receive() -> dict[str, object]:
            if messages:
                return dict(messages.pop())
            await gone.wait()
            return {"type": "http.disconnect"}

        async with requests.opened(Request(sent.scope, receive), {}, Kind.PREDICTION) as opened:
            await opened.read(ENTRY)

    first = asyncio.create_task(read(requests, prediction(padding=SMALL_BYTES)))
    await settle()
    second, third = asyncio.create_task(go()), asyncio.create_task(read(requests, prediction(padding=SMALL_BYTES)))
    await settle()
    gone.set()
    helper.gate.set()
    with pytest.raises(ClientDisconnect):
        await second
    assert (await first).jobs
    assert (await third).jobs
    assert helper.asked == ["kind", "read"] * 2


# --- LoopPasses


async def enter_one(passes: LoopPasses, n_bytes: int) -> None:
    if not passes.enters(n_bytes):
        await passes.turn(n_bytes)


async def passes_of(sizes: list[int]) -> list[int]:
    """Return in which pass of the event loop each of the bodies that come at once is let in."""
    passes, now, entered = LoopPasses(100), 0, {}

    async def enter(place: int, size: int) -> None:
        await enter_one(passes, size)
        entered[place] = now

    tasks = [asyncio.create_task(enter(place, size)) for place, size in enumerate(sizes)]
    while len(entered) < len(sizes):
        await asyncio.sleep(0)
        now += 1
    await asyncio.gather(*tasks)
    return [entered[place] for place in range(len(sizes))]


async def test_enters_when_all_fit_in_a_pass_then_at_once() -> None:
    assert len(set(await passes_of([20] * 5))) == 1


async def test_enters_when_more_come_than_fit_then_in_order_so_many_a_pass() -> None:
    found = await passes_of([60, 40, 60, 30, 500, 10])
    assert found == sorted(found)
    assert [found.count(each) for each in sorted(set(found))] == [2, 2, 1, 1]


async def test_enters_when_a_waiting_one_is_canceled_then_the_next_has_its_place() -> None:
    passes = LoopPasses(100)
    await enter_one(passes, 100)
    waiting = [asyncio.create_task(enter_one(passes, 100)) for _ in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.wait_for(waiting[1], None)
