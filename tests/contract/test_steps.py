"""Bulk batches from step to step, on a real Redis and without a worker: what is enqueued, held, lapsed, how it ends."""

import asyncio
import random
from collections.abc import Iterator

import pytest
import redis

from ferry.bulk.batch_records import ASSEMBLE, INDEX, BatchRecord, BatchSpec, BatchStatus, Opened, Part, Place
from ferry.bulk.batches import Batches, new_batch_id
from ferry.bulk.files import Files, new_file_id
from ferry.bulk.formats.base import FileFault
from ferry.bulk.steps import (
    RELEASED,
    STOPPED,
    Held,
    MadeFile,
    StepOutcome,
    Steps,
    assembled,
    broken,
    indexed,
    refused,
    worked,
)
from ferry.bulk.storage import Storage
from ferry.jobs import Claim, JobClass, JobLimits, Submission, new_job_id
from ferry.queue import keys
from ferry.queue.admin import Admin
from ferry.queue.connection import connect, connect_async
from ferry.queue.consumer import Consumer
from ferry.queue.keeper import Keeper, KeeperRules
from ferry.queue.producer import Producer
from ferry.settings import NAMESPACE
from tests.manifests import LIMITS, manifest
from tests.namespaces import KEYS, client_of

MAX_ATTEMPTS = 3
TOY = ("toy", "1")
RUNNING = Place(0, 8)


class Shop:
    """A queue that knows toy:1, and what clients, workers and the keeper do to it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.redis: redis.Redis = connect(url, NAMESPACE).redis
        self.steps = Steps(client_of(self.redis))
        self.consumer = Consumer(client_of(self.redis), worker="w1", lease_s=5)
        self.keeper = Keeper(client_of(self.redis), KeeperRules(lease_s=5, max_attempts=MAX_ATTEMPTS))
        self.admin = Admin(client_of(self.redis))
        self._async(lambda client: Producer(client_of(client), LIMITS).register(manifest()))

    def _async(self, action: object) -> object:
        async def act() -> object:
            client = connect_async(self.url, NAMESPACE).redis
            try:
                return await action(client)  # type: ignore[operator]
            finally:
                await client.aclose(close_connection_pool=True)

        return asyncio.run(act())

    def open(self, owner: str = "", limits: JobLimits | None = None) -> str:
        """Open a batch over a new file."""
        batch_id, file_id = new_batch_id(), new_file_id()

        async def act(client: object) -> Opened:
            files = Files(client_of(client), Storage("/nowhere"), max_files=1000, ttl_s=600)  # type: ignore[arg-type]
            file_id = await files.reserve()
            await files.create(file_id, size_bytes=3, filename="in.npy", purpose="batch")
            spec = BatchSpec(batch_id, *TOY, "/v2/models/toy/infer", file_id, 3600, "1h", owner=owner, limits=limits)
            return await Batches(client_of(client), max_open=1000, ttl_s=600).open(spec)  # type: ignore[arg-type]

        assert file_id
        assert self._async(act) is Opened.ACCEPTED
        return batch_id

    def submit(self, *jobs: Submission) -> None:
        self._async(lambda client: Producer(client_of(client), LIMITS).submit(jobs))

    def cancel(self, batch_id: str) -> object:
        return self._async(lambda client: Batches(client_of(client), max_open=1000, ttl_s=600).cancel(batch_id))

    def record(self, batch_id: str) -> BatchRecord:
        record = self._async(lambda client: Batches(client_of(client), max_open=1000, ttl_s=600).get(batch_id))
        assert isinstance(record, BatchRecord)
        return record

    def status(self, batch_id: str) -> str:
        return self.redis.hget(KEYS.batch + batch_id, "status").decode()

    def claim(self, **how: bool) -> Claim:
        return self.consumer.claim(*TOY, max_rows=8, **how)

    def hold(self) -> Held | None:
        """Take the next step; None when none is to be had."""
        claim = self.claim()
        if not claim.jobs:
            return None
        (job,) = claim.jobs
        return Held(claim.token, job.id, *TOY, job.attempt)

    def take(self, step: str | int = "") -> Held:
        """Take the next step, which must be this one."""
        held = self.hold()
        assert held is not None
        assert not step or held.step == str(step) or step == 0
        return held

    def settle(self, held: Held, outcome: StepOutcome | None = None) -> bool:
        """Record a step, by default as done."""
        return self.steps.settle(held, outcome or self.done(held))

    def done(self, held: Held) -> StepOutcome:
        if held.step == INDEX:
            return index_of(6)
        if held.step == ASSEMBLE:
            output = MadeFile(self.steps.reserve_file(), 5, "out.npy", 600)
            parts = self.steps.parts(held.batch_id).values()
            return assembled(
                completed=sum(part.completed for part in parts), failed=sum(part.failed for part in parts),
                output=output, errors=None,
            )  # fmt: skip
        return worked(int(held.step), Part(held.token, 9, 1, 5, 5))

    def sweep(self) -> None:
        """Delete every file and folder that is due."""
        self._async(lambda client: Files(client_of(client), Storage("/nowhere"), max_files=1000, ttl_s=600).sweep())

    def open_steps(self, batch_id: str) -> set[str]:
        return {step.decode() for step in self.redis.hkeys(KEYS.batch_open + batch_id)}

    def let_lapse(self) -> None:
        """Let every lease be over, and the keeper come."""
        for token in self.redis.zrange(KEYS.leases, 0, -1):
            self.redis.zadd(KEYS.leases, {token: 1}, xx=True)
        self.keeper.lapse()

    def expire(self, batch_id: str) -> None:
        self.redis.zadd(KEYS.batch_ends, {batch_id: 1}, xx=True)
        self.keeper.lapse()

    def work_off(self) -> None:
        """Do whatever is to be done."""
        for _ in range(1000):
            held = self.hold()
            if held is None:
                return
            assert self.settle(held)
        raise AssertionError("there is no end of steps")

    def leftovers(self) -> list[str]:
        """Return what is left beside records, files and what belongs to the model."""
        kept = (
            KEYS.model, KEYS.models, KEYS.counts, KEYS.tally, KEYS.live,
            KEYS.tickets, KEYS.keeper, KEYS.memory, KEYS.batch,
            KEYS.batches, KEYS.file, KEYS.files, KEYS.files_of, KEYS.file_ends,
        )  # fmt: skip
        return sorted(key.decode() for key in self.redis.keys("*") if not key.decode().startswith(kept))


def index_of(chunks: int) -> StepOutcome:
    return indexed(rows=10 * chunks, chunks=chunks, width=40, format_name="npy", output_format="npy", notes=("a note",))


@pytest.fixture
def shop(redis_url: str) -> Iterator[Shop]:
    shop = Shop(redis_url)
    yield shop
    shop.redis.close()


@pytest.fixture
def running(shop: Shop) -> str:
    """A batch whose file was indexed: six chunks."""
    batch_id = shop.open()
    assert shop.settle(shop.take(INDEX))
    return batch_id


def test_batch_when_each_step_is_done_then_it_is_completed_and_nothing_else_is_left(shop: Shop) -> None:
    batch_id = shop.open()
    assert shop.status(batch_id) == "validating"
    shop.settle(shop.take(INDEX))
    assert (shop.status(batch_id), shop.record(batch_id).notes) == ("in_progress", ("a note",))
    for number in range(6):
        shop.settle(shop.take(number))
    record = shop.record(batch_id)
    assert (record.status, record.total, record.completed, record.failed) == (BatchStatus.FINALIZING, 60, 54, 6)
    shop.settle(shop.take(ASSEMBLE))
    record = shop.record(batch_id)
    assert (record.status, record.completed, record.failed) == (BatchStatus.COMPLETED, 54, 6)
    assert record.output_file_id
    assert shop.redis.hget(KEYS.file + record.output_file_id, "purpose") == b"batch_output"
    assert shop.hold() is None
    assert shop.leftovers() == []
    assert 0 < shop.redis.ttl(KEYS.batch + batch_id) <= 600


def test_batch_when_it_has_an_owner_and_a_limited_key_then_its_output_is_the_owners_and_its_place_is_free(
    shop: Shop,
) -> None:
    batch_id = shop.open(owner="ann", limits=JobLimits("k1", max_unfinished=1))
    assert shop.redis.zrange(f"{KEYS.unfinished}k1", 0, -1) == [batch_id.encode()]
    shop.settle(shop.take(INDEX))
    for number in range(6):
        shop.settle(shop.take(number))
    shop.settle(shop.take(ASSEMBLE))
    output = shop.record(batch_id).output_file_id
    assert output
    assert shop.redis.hget(KEYS.file + output, "owner") == b"ann"
    assert output.encode() in shop.redis.zrange(f"{KEYS.files_by}ann", 0, -1)
    assert output.encode() in shop.redis.zrange(f"{KEYS.files_by}ann:batch_output", 0, -1)
    assert not shop.redis.exists(f"{KEYS.unfinished}k1")


@pytest.mark.parametrize("owner", ["", "ann"])
@pytest.mark.parametrize("end", ["completed", "cancelled", "expired"])
def test_batch_when_it_is_forgotten_then_redis_is_as_empty_as_before_though_nobody_lists(
    shop: Shop, owner: str, end: str
) -> None:
    def there_are() -> set[str]:
        return {key.decode() for key in shop.redis.keys("*")} - {KEYS.keeper, KEYS.memory, KEYS.tally}

    shop.keeper.lapse()
    before = there_are() | {KEYS.tickets + "toy:1", KEYS.counts + "toy:1"}
    batch_id, other = shop.open(owner), shop.open("bob")
    if end == "cancelled":
        shop.cancel(batch_id)
    elif end == "expired":
        shop.expire(batch_id)
    shop.work_off()
    assert shop.status(batch_id) == end
    assert 0 < shop.redis.zscore(KEYS.batches_gone, f"{owner}/{batch_id}") / 1000 - shop.redis.time()[0] <= 601
    shop.keeper.lapse()
    assert shop.redis.zscore(KEYS.batches, batch_id), "it is remembered yet"
    for each, whose in ((batch_id, owner), (other, "bob")):  # their time is over
        shop.redis.delete(KEYS.batch + each)
        shop.redis.zadd(KEYS.batches_gone, {f"{whose}/{each}": 1}, xx=True)
    for due in shop.redis.zrange(KEYS.file_ends, 0, -1):
        shop.redis.zadd(KEYS.file_ends, {due: 1})
    shop.keeper.lapse()
    shop.sweep()
    assert there_are() - before == set()


def test_keeper_when_more_batches_are_forgotten_than_one_call_takes_then_the_next_takes_the_rest(shop: Shop) -> None:
    ids = [new_batch_id() for _ in range(keys.FORGOTTEN_AT_ONCE + 1)]
    shop.redis.zadd(KEYS.batches_by + "ann", dict.fromkeys(ids, 1))
    shop.redis.zadd(KEYS.batches_gone, {f"ann/{each}": 1 for each in ids})
    shop.keeper.lapse()
    assert shop.redis.zcard(KEYS.batches_by + "ann") == 1
    shop.keeper.lapse()
    assert shop.redis.keys(f"{KEYS.batch}*") == []


def test_window_when_chunks_are_many_then_a_few_are_open_and_each_settle_lets_another_in(shop: Shop) -> None:
    batch_id = shop.open()
    shop.settle(shop.take(INDEX), index_of(50))
    assert shop.open_steps(batch_id) == {str(number) for number in range(keys.BULK_WINDOW)}
    held = shop.take(0)
    shop.settle(held)
    assert shop.open_steps(batch_id) == {str(number) for number in range(1, keys.BULK_WINDOW + 1)}
    for name in ("w1", "w2", "w3"):
        Consumer(client_of(shop.redis), worker=name, lease_s=5).beat({TOY: ""})
    shop.keeper.lapse()
    assert len(shop.open_steps(batch_id)) == 6
    assert int(shop.redis.hget(KEYS.backlog + "toy:1", "rows") or 0) == 6 * 8


def test_claim_when_a_step_waits_then_it_comes_by_itself_and_not_to_those_who_leave_bulk_alone(shop: Shop) -> None:
    batch_id = shop.open()
    shop.submit(Submission(new_job_id(), *TOY, 1, b"x", job_class=JobClass.BULK))
    assert shop.claim(may_be_bulk=False).jobs == ()
    assert [job.id for job in shop.claim().jobs] == [f"{batch_id}/index"]
    assert len(shop.claim().jobs) == 1


def test_claim_when_jobs_of_a_higher_class_always_wait_then_a_step_still_gets_its_turn(
    shop: Shop, running: str
) -> None:
    shop.submit(*(Submission(new_job_id(), *TOY, 4, b"x") for _ in range(120)))
    claims = [shop.claim() for _ in range(40)]
    steps = [number for number, claim in enumerate(claims) if claim.jobs and claim.jobs[0].id.startswith(running)]
    assert 1 <= len(steps) <= 3


def test_settle_when_sent_twice_or_by_another_then_it_counts_once(shop: Shop, running: str) -> None:
    held = shop.take(0)
    stranger = Held("another", held.id, *TOY, 1)
    assert not shop.settle(stranger, worked(0, Part("another", 9, 1, 5, 0)))
    outcome = shop.done(held)
    assert shop.settle(held, outcome)
    assert not shop.settle(held, outcome)
    record = shop.record(running)
    assert (record.completed, record.failed, record.done) == (9, 1, 1)
    assert shop.steps.parts(running)[0].token == held.token


def test_refused_when_the_file_has_faults_then_the_batch_fails_with_them(shop: Shop) -> None:
    batch_id = shop.open()
    shop.settle(shop.take(INDEX), refused([FileFault("invalid_json_line", "no JSON", 3, "x")], 7))
    record = shop.record(batch_id)
    assert (record.status, record.total) == (BatchStatus.FAILED, 7)
    assert record.errors == (FileFault("invalid_json_line", "no JSON", 3, "x"),)
    assert shop.leftovers() == []


@pytest.mark.parametrize("n_running", [0, 2])
@pytest.mark.parametrize("end", [Shop.cancel, Shop.expire])
def test_batch_when_ended_amid_chunks_then_those_that_run_are_kept_and_the_rest_is_dropped(
    shop: Shop, running: str, end: object, n_running: int
) -> None:
    held = [shop.take(number) for number in range(n_running)]
    end(shop, running)  # type: ignore[operator]
    ending = BatchStatus.CANCELLED if end is Shop.cancel else BatchStatus.EXPIRED
    assert shop.open_steps(running) == ({each.step for each in held} if held else {ASSEMBLE})
    for each in held:
        assert shop.settle(each)
    shop.settle(shop.take(ASSEMBLE))
    record = shop.record(running)
    assert (record.status, record.done) == (ending, n_running)
    assert shop.leftovers() == []


@pytest.mark.parametrize("end", [Shop.cancel, Shop.expire])
@pytest.mark.parametrize("outcome", [STOPPED, index_of(6)])
def test_batch_when_ended_while_its_file_is_looked_at_then_it_ends_after_that(
    shop: Shop, end: object, outcome: StepOutcome
) -> None:
    batch_id = shop.open()
    held = shop.take(INDEX)
    end(shop, batch_id)  # type: ignore[operator]
    assert shop.settle(held, outcome)
    shop.work_off()
    assert shop.status(batch_id) == ("cancelled" if end is Shop.cancel else "expired")
    assert shop.leftovers() == []


def test_batch_when_a_chunk_breaks_it_then_it_fails_once_the_others_are_done(shop: Shop, running: str) -> None:
    first, second = shop.take(0), shop.take(1)
    assert shop.settle(first, broken("file_not_found", "gone"))
    assert shop.open_steps(running) == {"1"}
    assert shop.settle(second)
    shop.settle(shop.take(ASSEMBLE))
    record = shop.record(running)
    assert (record.status, [error.code for error in record.errors]) == (BatchStatus.FAILED, ["file_not_found"])
    assert shop.leftovers() == []


def test_batch_when_cancelled_before_a_chunk_breaks_it_then_it_is_cancelled(shop: Shop, running: str) -> None:
    held = shop.take(0)
    shop.cancel(running)
    shop.settle(held, broken("file_not_found", "gone"))
    shop.work_off()
    assert shop.status(running) == "cancelled"


def test_step_when_released_then_it_waits_again_at_no_cost(shop: Shop) -> None:
    batch_id = shop.open()
    for _ in range(3 * MAX_ATTEMPTS):
        held = shop.take(INDEX)
        assert held.attempt == 1
        assert shop.settle(held, RELEASED)
    shop.work_off()
    assert shop.status(batch_id) == "completed"


@pytest.mark.parametrize(("place", "charged"), [(Place(), 0), (Place(skipped=(7,)), 0), (RUNNING, 1)])
def test_chunk_when_its_claim_lapses_then_it_is_charged_only_while_it_ran(
    shop: Shop, running: str, place: Place, charged: int
) -> None:
    held = shop.take(0)
    assert shop.steps.between(held, place, [TOY]).is_held
    shop.let_lapse()
    assert not shop.steps.between(held, place, [TOY]).is_held
    assert not shop.settle(held)
    again = shop.take(0)
    assert (again.id, again.attempt) == (held.id, 1 + charged)
    assert shop.steps.place(again) == place


def test_step_when_it_kills_again_and_again_then_it_is_given_up(shop: Shop) -> None:
    batch_id = shop.open()
    for _ in range(MAX_ATTEMPTS):
        shop.steps.between(shop.take(INDEX), RUNNING, [])
        shop.let_lapse()
    record = shop.record(batch_id)
    assert (record.status, [error.code for error in record.errors]) == (BatchStatus.FAILED, ["worker_lost"])
    assert shop.leftovers() == []


def test_chunk_when_it_kills_again_and_again_then_it_alone_is_given_up(shop: Shop, running: str) -> None:
    for _ in range(3 * MAX_ATTEMPTS):
        shop.steps.between(shop.take(), RUNNING, [])
        shop.let_lapse()
    assert shop.steps.parts(running)[0].token == ""
    shop.work_off()
    assert (shop.status(running), shop.record(running).completed) == ("completed", 45)


def test_assembly_when_it_kills_again_and_again_then_the_batch_fails(shop: Shop, running: str) -> None:
    for number in range(6):
        shop.settle(shop.take(number))
    for _ in range(MAX_ATTEMPTS):
        shop.steps.between(shop.take(ASSEMBLE), RUNNING, [])
        shop.let_lapse()
    assert shop.status(running) == "failed"
    assert shop.leftovers() == []


def test_chunk_when_it_lapses_after_a_cancel_then_it_is_not_done_again(shop: Shop, running: str) -> None:
    held = shop.take(0)
    shop.steps.between(held, RUNNING, [])
    shop.cancel(running)
    shop.let_lapse()
    assert shop.open_steps(running) == {ASSEMBLE}
    shop.work_off()
    assert shop.status(running) == "cancelled"


@pytest.mark.parametrize("n_running", [0, 1])
def test_purge_when_a_batch_waits_then_it_is_cancelled_and_not_stuck(shop: Shop, running: str, n_running: int) -> None:
    held = [shop.take(0) for _ in range(n_running)]
    job = Submission(new_job_id(), *TOY, 1, b"x")
    shop.submit(job)
    assert shop.admin.purge(*TOY) == 2
    assert shop.admin.purge(*TOY) == 0
    for each in held:
        shop.settle(each)
    shop.work_off()
    assert shop.status(running) == "cancelled"
    assert [key for key in shop.leftovers() if not key.endswith(job.id)] == []


def test_purge_when_only_steps_that_lapsed_wait_then_their_batch_is_cancelled(shop: Shop) -> None:
    batch_id = shop.open()
    shop.settle(shop.take(INDEX), index_of(1))
    shop.steps.between(shop.take(0), RUNNING, [])
    shop.let_lapse()
    assert shop.admin.purge(*TOY) == 1
    shop.work_off()
    assert shop.status(batch_id) == "cancelled"


def test_between_when_asked_without_waiting_then_the_same_answer(shop: Shop, running: str) -> None:
    held = shop.take(0)
    shop.submit(Submission(new_job_id(), *TOY, 1, b"x"))
    answers = [shop.steps.ask(held, Place(n, n + 8), [TOY])() for n in range(3)]
    assert {(each.is_held, each.is_ending, each.waiting) for each in answers} == {(True, False, (TOY,))}
    assert shop.steps.place(held) == Place(2, 10)
    shop.redis.script_flush()
    assert shop.steps.ask(held, RUNNING, [])().is_held


def test_pause_when_a_model_is_paused_then_no_step_is_handed_out(shop: Shop, running: str) -> None:
    shop.admin.pause(*TOY)
    assert shop.hold() is None
    shop.admin.resume(*TOY)
    shop.work_off()
    assert shop.status(running) == "completed"


@pytest.mark.parametrize("seed", range(25))
def test_batches_when_anything_happens_in_any_order_then_each_ends_once_and_nothing_is_left(  # noqa: C901  a list of deeds
    shop: Shop, seed: int
) -> None:
    chance, batches, held = random.Random(seed), [], list[Held]()
    ended: dict[str, str] = {}
    for _ in range(60):
        deed = chance.choices(
            ["open", "hold", "settle", "break", "release", "cancel", "expire", "lapse", "stale"],
            [2, 12, 10, 1, 1, 1, 1, 2, 1],
        )[0]
        if deed == "open" and len(batches) < 4:
            batches.append(shop.open())
        elif deed == "hold" and (step := shop.hold()):
            held.append(step)
            if chance.random() < 0.5:
                shop.steps.between(step, RUNNING, [TOY])
        elif deed in ("settle", "break", "release") and held:
            step = held.pop(chance.randrange(len(held)))
            outcome = {"settle": shop.done(step), "break": broken("x", "y"), "release": RELEASED}[deed]
            if step.step == INDEX and deed == "settle":
                outcome = index_of(chance.choice([1, 3, 9]))
            shop.settle(step, outcome)
            if chance.random() < 0.2:
                assert not shop.settle(step, outcome)
        elif deed in ("cancel", "expire") and batches:
            getattr(shop, deed)(chance.choice(batches))
        elif deed == "lapse":
            shop.let_lapse()
        elif deed == "stale" and held:
            shop.settle(Held("nobody", held[-1].id, *TOY, 1))
        for batch_id in batches:
            status = shop.status(batch_id)
            assert len(shop.open_steps(batch_id)) <= keys.BULK_WINDOW
            if batch_id in ended:
                assert status == ended[batch_id], "what is over does not change"
            elif BatchStatus(status).is_terminal:
                ended[batch_id] = status
    for step in held:
        shop.settle(step)
    shop.let_lapse()
    shop.work_off()
    assert {BatchStatus(shop.status(batch_id)).is_terminal for batch_id in batches} <= {True}
    assert shop.leftovers() == []
    for batch_id in batches:
        record = shop.record(batch_id)
        if record.status is BatchStatus.COMPLETED:
            assert record.completed + record.failed <= (record.total or 0)


def waiting_rows(shop: Shop) -> int:
    """Return the rows of all steps that wait, as their own records say."""
    jobs = [shop.redis.hmget(key, "state", "rows") for key in shop.redis.keys(f"{KEYS.job}*/*")]
    return sum(int(rows) for state, rows in jobs if state == b"queued")


def backlog_rows(shop: Shop) -> int:
    """Return the rows that are said to wait; the model's and those of all models must agree."""
    of_model, of_all = (int(shop.redis.hget(key, "rows") or 0) for key in (KEYS.backlog + "toy:1", KEYS.total))
    assert of_model == of_all
    return of_model


@pytest.mark.parametrize("end", [Shop.cancel, Shop.expire])
def test_batch_when_ended_before_anybody_looked_at_its_file_then_it_is_over_at_once(shop: Shop, end: object) -> None:
    batch_id = shop.open()
    end(shop, batch_id)  # type: ignore[operator]
    assert shop.status(batch_id) == ("cancelled" if end is Shop.cancel else "expired")
    assert shop.hold() is None
    assert shop.leftovers() == []


@pytest.mark.parametrize("end", [Shop.cancel, Shop.expire])
def test_batch_when_ended_while_it_is_assembled_then_it_is_completed_all_the_same(
    shop: Shop, running: str, end: object
) -> None:
    for number in range(6):
        shop.settle(shop.take(number))
    held = shop.take(ASSEMBLE)
    end(shop, running)  # type: ignore[operator]
    assert shop.status(running) == "finalizing"
    assert shop.settle(held)
    assert shop.status(running) == "completed"
    assert shop.leftovers() == []


def test_assembly_when_settled_twice_then_it_counts_once_and_what_is_over_stays(shop: Shop, running: str) -> None:
    for number in range(6):
        shop.settle(shop.take(number))
    held = shop.take(ASSEMBLE)
    assert shop.settle(held)
    before = shop.redis.hgetall(KEYS.batch + running)
    assert not shop.settle(held)
    assert not shop.settle(held, broken("x", "y"))
    assert shop.cancel(running) is False
    shop.expire(running)
    assert shop.redis.hgetall(KEYS.batch + running) == before
    assert shop.leftovers() == []


def test_batch_when_its_file_has_no_rows_then_it_is_assembled_at_once(shop: Shop) -> None:
    batch_id = shop.open()
    shop.settle(shop.take(INDEX), index_of(0))
    assert shop.open_steps(batch_id) == {ASSEMBLE}
    shop.settle(shop.take(ASSEMBLE))
    assert shop.status(batch_id) == "completed"
    assert shop.leftovers() == []


@pytest.mark.parametrize("step", [INDEX, ASSEMBLE])
def test_step_when_its_claims_lapse_before_it_began_then_it_is_never_given_up(shop: Shop, step: str) -> None:
    batch_id = shop.open()
    if step == ASSEMBLE:
        shop.settle(shop.take(INDEX), index_of(0))
    for _ in range(2 * MAX_ATTEMPTS):
        assert shop.take(step).attempt == 1
        shop.let_lapse()
        assert backlog_rows(shop) == waiting_rows(shop)
    shop.work_off()
    assert shop.status(batch_id) == "completed"


def test_chunk_when_given_up_then_the_next_one_comes_in_its_place(shop: Shop) -> None:
    batch_id = shop.open()
    shop.settle(shop.take(INDEX), index_of(9))
    for _ in range(3 * MAX_ATTEMPTS):
        held = shop.take()
        assert held.step == "0", "what lapsed goes first"
        shop.steps.between(held, RUNNING, [])
        shop.let_lapse()
    assert shop.open_steps(batch_id) == {"1", "2", "3", "4"}
    assert backlog_rows(shop) == waiting_rows(shop)


def test_claim_when_interactive_jobs_wait_then_they_go_before_a_step(shop: Shop, running: str) -> None:
    job = Submission(new_job_id(), *TOY, 8, b"x")
    shop.submit(job)
    assert [each.id for each in shop.claim().jobs] == [job.id]
    assert [each.id for each in shop.claim().jobs] == [f"{running}/0"]


def test_purge_when_only_the_assembly_waits_then_the_batch_ends_as_it_was_to(shop: Shop, running: str) -> None:
    for number in range(6):
        shop.settle(shop.take(number))
    assert shop.admin.purge(*TOY) == 0
    shop.work_off()
    assert shop.status(running) == "completed"
    assert shop.leftovers() == []


def test_purge_when_an_assembly_lapsed_then_it_is_still_done(shop: Shop, running: str) -> None:
    shop.cancel(running)
    shop.take(ASSEMBLE)
    shop.let_lapse()
    assert shop.admin.purge(*TOY) == 0
    assert backlog_rows(shop) == waiting_rows(shop) == 1
    shop.work_off()
    assert shop.status(running) == "cancelled"
    assert shop.leftovers() == []


def test_purge_when_there_are_several_batches_then_each_counts_once_and_is_cancelled(shop: Shop) -> None:
    batches = [shop.open() for _ in range(3)]
    shop.settle(shop.take(INDEX), index_of(9))
    assert shop.admin.purge(*TOY) == 3
    assert backlog_rows(shop) == waiting_rows(shop) == 1
    shop.work_off()
    assert [shop.status(batch_id) for batch_id in batches] == ["cancelled"] * 3
    assert shop.leftovers() == []


@pytest.mark.parametrize("seed", range(25))
def test_batches_when_purged_amid_anything_then_rows_add_up_and_each_chunk_counts_once(  # noqa: C901  a list of deeds
    shop: Shop, seed: int
) -> None:
    chance, held, settled = random.Random(1000 + seed), list[Held](), list[str]()
    batches: list[str] = []
    window = keys.BULK_WINDOW
    for _ in range(60):
        deed = chance.choices(
            ["open", "hold", "settle", "fail", "cancel", "expire", "lapse", "purge", "join", "pause"],
            [3, 14, 10, 1, 1, 1, 3, 1, 1, 1],
        )[0]
        if deed == "open" and len(batches) < 5:
            batches.append(shop.open())
        elif deed == "hold" and (step := shop.hold()):
            held.append(step)
            if chance.random() < 0.7:
                assert shop.steps.between(step, RUNNING, [TOY]).is_held
        elif deed in ("settle", "fail") and held:
            step = held.pop(chance.randrange(len(held)))
            outcome = shop.done(step) if deed == "settle" else broken("x", "y")
            if step.step == INDEX:
                faults = refused([FileFault("invalid_file", "bad")], 1)
                outcome = index_of(chance.choice([0, 1, 5, 12])) if deed == "settle" else faults
            if shop.settle(step, outcome):
                settled.append(step.id)
            assert not shop.settle(step, outcome)
        elif deed in ("cancel", "expire") and batches:
            getattr(shop, deed)(chance.choice(batches))
        elif deed == "lapse":
            shop.let_lapse()
        elif deed == "purge":
            shop.admin.purge(*TOY)
        elif deed == "join":
            Consumer(client_of(shop.redis), worker=f"w{chance.randrange(4)}", lease_s=5).beat({TOY: ""})
            window = max(window, 2 * int(shop.redis.zcard(KEYS.live + "toy:1")))
        elif deed == "pause":
            shop.admin.pause(*TOY)
            assert shop.hold() is None
            shop.admin.resume(*TOY)
        assert backlog_rows(shop) == waiting_rows(shop)
        for batch_id in batches:
            open_steps, status = shop.open_steps(batch_id), BatchStatus(shop.status(batch_id))
            assert len(open_steps) <= window
            assert bool(open_steps) is not status.is_terminal, "it is over, or something of it is to be done"
            assert open_steps == {
                key.decode().rpartition("/")[2] for key in shop.redis.keys(f"{KEYS.job}{batch_id}/*")
            }  # fmt: skip
    assert len(settled) == len(set(settled)), "each step is recorded at most once"
    shop.let_lapse()
    shop.work_off()
    for batch_id in batches:
        record = shop.record(batch_id)
        assert record.status.is_terminal
        ends = [record.completed_us, record.failed_us, record.expired_us, record.cancelled_us]
        assert len([end for end in ends if end]) == 1, "it ended once"
        assert record.done <= (record.chunks or 0)
        assert not shop.redis.zscore(KEYS.batch_ends, batch_id)
        assert 0 < shop.redis.ttl(KEYS.batch + batch_id) <= 600
    assert shop.leftovers() == []
