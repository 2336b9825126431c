"""The one home of every Redis key, channel and job field, and of the names of Celery's queues.

Keys and channels belong to a namespace: several Ferries share a server, and none hears another. The scripts get their
names from here. `{model}` below is `name:version`.
"""

from dataclasses import dataclass
from typing import overload

from redis.connection import parse_url

# Celery's queues: one for each model, one for what any worker can do. Kombu puts the namespace in front (broker.py).
TICKETS = "tickets:"
CONTROL_QUEUE = "control"
# In a model's ticket template this stands where each ticket's own id goes: no magic character of Lua patterns in it.
TICKET_ID = "FERRYxTICKETxID"


class _Place:
    """The part of a name that follows the namespace. Read from `Keys`, it is the whole name, made once."""

    def __init__(self, suffix: str) -> None:
        self._suffix = suffix

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, keys: None, owner: type) -> "_Place": ...
    @overload
    def __get__(self, keys: "Keys", owner: type) -> str: ...
    def __get__(self, keys: "Keys | None", owner: type) -> "str | _Place":
        if keys is None:
            return self
        # The instance's own attribute is found first from now on.
        name = keys.__dict__[self._name] = keys.prefix + self._suffix
        return name


@dataclass(frozen=True)
class Keys:
    """The keys and channels of one namespace: `{namespace}:...`, all in one slot of a cluster, by the hash tag."""

    namespace: str

    @property
    def prefix(self) -> str:
        """What every key and channel begins with."""
        return "{" + self.namespace + "}:"

    job = _Place("job:")  # + id: hash, see FIELDS
    input = _Place("input:")  # + id: string, the input of a job that is not terminal (ferry/queue/compression.py)
    # + {model}:{class}: stream; entry v, j (job id), n (rows), b (bytes), d (deadline, ms) and, where the job has one,
    # o (origin: see ferry/origins.py)
    waiting = _Place("waiting:")
    alone = _Place("alone:")  # + {model}: list of ids whose claim lapsed; each is claimed by itself
    backlog = _Place("backlog:")  # + {model}: hash rows, bytes, owed:{class} (1/1000 row); absent when idle
    total = _Place("total")  # hash rows, bytes: what waits for all models together; absent when idle
    # String: 1 when Redis had no room for new jobs at its last look, else 0; lives MEMORY_LOOK_MS.
    memory = _Place("memory")
    claim = _Place("claim:")  # + token: set of the ids claimed under it
    leases = _Place("leases")  # sorted set: token by end of its lease (ms)
    spared = _Place("spared")  # set: tokens whose leases an outage pushed out and nobody has renewed since
    # Never there. Every script call declares it, so that a cluster knows the call's slot; deleting it lets a script
    # write when Redis is full.
    nothing = _Place("nothing")
    deadlines = _Place("deadlines")  # sorted set: id of every unfinished job by its deadline (ms)
    dead = _Place("dead")  # sorted set: id of every dead letter by when it died (ms); job and input live on as long
    models = _Place("models")  # set of every registered {model}
    # + {model}: hash, see MODEL_FIELDS and `ticket`, `max_rows`, `max_wait_ms`, `served_ms` (the last heartbeat of a
    # worker with the registered digest) and `paused` (no job is claimed), `draining` (no job is accepted), each there
    # or not
    model = _Place("model:")
    # Hash: {name}:{alias} -> "{version} {version before}", the latter empty where there was none.
    aliases = _Place("aliases")
    unloaded = _Place("unloaded")  # set of {model}: what workers must not serve
    live = _Place("live:")  # + {model}: sorted set of worker names by last heartbeat (ms)
    # + {model}: sorted set of "{worker} {digest}" by last heartbeat (ms), of workers whose files are not the registered
    # ones
    other = _Place("other:")
    # Hash: "{worker} {model}" -> "{last report, ms} {reason}", of the models that a worker cannot serve.
    broken = _Place("broken")
    counts = _Place("counts:")  # + {model}: hash of counters, never reset
    # Hash of counters that belong to no model, never reset; a field is words with spaces between: "rejected CODE",
    # "requests METHOD ROUTE STATUS", "seconds METHOD ROUTE BUCKET", "seconds_sum METHOD ROUTE", "batches STATUS",
    # "drift COUNTER", "connections REASON".
    tally = _Place("tally")
    tickets = _Place(TICKETS)  # + {model}: list, Celery's queue
    file = _Place("file:")  # + id: hash, see FILE_FIELDS
    files = _Place("files")  # sorted set: id of every file by when it was made (us)
    files_of = _Place("files_of:")  # + {purpose}: the same, of one purpose
    # + {owner}, or {owner}:{purpose}: the same, of one owner's files; no owner's name has a colon
    files_by = _Place("files_by:")
    # Sorted set: id of every file, and of every upload under way, by when its bytes are to be deleted (ms). An id
    # leaves it last of all, so that bytes which a dead process left behind are found here.
    file_ends = _Place("file_ends")
    file_of_key = _Place("file_of_key:")  # + digest of an Idempotency-Key: string, the id of the file made under it
    batch = _Place("batch:")  # + id: hash of a bulk batch, see BATCH_FIELDS
    batches = _Place("batches")  # sorted set: id of every bulk batch by when it was made (us)
    batches_by = _Place("batches_by:")  # + {owner}: the same, of one owner's batches
    # Sorted set: "{owner}/{id}" of every batch that is over by when its record expires (ms); the keeper then takes its
    # id out of the two above. Of one that a release before this ended it is absent, and whoever lists takes it out.
    batches_gone = _Place("batches_gone")
    batch_ends = _Place("batch_ends")  # sorted set: id of every batch under way by when its window closes (ms)
    # + id: hash of the steps that are enqueued and not settled: where each stands ("from to", in rows of its chunk, and
    # the places of rows that killed a worker; "-" while nothing of the batch runs); absent when there is none
    batch_open = _Place("batch_open:")
    # + id: hash of the chunks that are settled, by number: "{token} {completed} {failed} {bytes of output} {of
    # errors} {rows of output}", empty for a chunk that was given up
    batch_parts = _Place("batch_parts:")
    steps_alone = _Place("steps_alone:")  # + {model}: list of ids of steps whose claim lapsed
    api_key = _Place("api_key:")  # + id: hash of an API key: name, owner, scopes, sha256 of the secret, limits, ends
    api_keys = _Place("api_keys")  # sorted set: id of every API key, revoked ones too, by when it was made (us)
    # + id of an API key with such a limit: sorted set, its jobs not done by deadline (ms)
    unfinished = _Place("unfinished:")
    rate = _Place("rate:")  # + id of an API key with such a limit: string, when its next job would be due (us)
    keeper = _Place("keeper")  # string: who keeps house now
    # String: the steps of Redis' clock that the leader took out, and the steady time it last saw; both in us.
    clock = _Place("clock")
    # Sorted set: id of every job and bulk batch that was accepted more than AHEAD_US after that time, by the steady
    # time of its acceptance (us); the leader corrects and removes it. Absent nearly always.
    unsure = _Place("unsure")
    # Channel: msgpack [[[field, value, ...], [id, ...], [output, ...]], ...] of jobs that became terminal; the fields
    # are those that these jobs share, empty when a waiter must read the job itself.
    settled = _Place("settled")
    reply = _Place("reply:")  # + a random id: list, a worker's answer to who wants a model inspected


def keys_at(url: str, name: str) -> Keys:
    """Return the keys of the Ferry called `name` (FERRY_NAMESPACE) in the database that a Redis URL names.

    All databases of a server share its channels, so the database's number is part of the namespace where it is not 0.
    It follows an `@`, which no name has, so two Ferries of other names or databases never share a namespace.
    """
    database = int(parse_url(url).get("db", 0))  # type: ignore[no-untyped-call]
    return Keys(f"{name}@{database}" if database else name)


# Format of stream entries and job hashes; a reader that meets a newer one leaves it alone.
FORMAT_VERSION = 2

# Of the stream entries that are steps of a bulk batch, and so the newest format there is. A step's id is
# {batch id}/{step}; no client's id has a slash.
STEP_FORMAT_VERSION = 3

# Fields of a job's hash that a poll reads, in this order. `model` is {model}; `batch` its id, rows, jobs and run time
# in microseconds, with spaces between. A hash as small as this stays one compact block in Redis (a listpack).
FIELDS = (
    "model", "state", "rows", "single", "created_us", "deadline_us", "attempts", "started_us", "completed_us", "batch",
    "output", "error_code", "error", "replay_of", "owner",
)  # fmt: skip

# Fields of a model's hash that say how it is executed, in this order: as announced; `digest`, the version's identity,
# and `switched`, why a check in production moved it to whole jobs; then as set live (tune.lua).
MODEL_FIELDS = (
    "manifest", "profile", "paused", "draining", "digest", "switched", "tuned_max_rows", "tuned_max_wait_ms",
)  # fmt: skip

# Fields of a file's hash, in this order; times in seconds. A file made under an Idempotency-Key
# has `keyed` too: the entry in Redis that leads to it, which is deleted with it.
FILE_FIELDS = ("bytes", "created_at", "expires_at", "filename", "purpose", "status", "sha256", "owner")

# Fields of a batch's hash. Times are microseconds. `ending` is the status it will end with once that is decided; `next`
# the first chunk not yet enqueued; `width` the bytes of one record of its index; `rate` in rows/s, as of `rate_us`;
# `notes` a JSON array of texts; `is_prepared` 1 where the input was unpacked, or written as UTF-8, into its folder.
BATCH_FIELDS = (
    "status", "ending", "model", "endpoint", "input_file_id", "filename", "size_bytes", "format", "output_format",
    "completion_window", "metadata", "output_ttl_s", "created_us", "in_progress_us", "finalizing_us", "completed_us",
    "failed_us", "expired_us", "cancelling_us", "cancelled_us", "expires_us", "total", "completed", "failed", "chunks",
    "done", "width", "errors", "notes", "is_prepared", "output_file_id", "error_file_id", "rate", "rate_us", "owner",
    "retry_output_id", "retry_error_id",
)  # fmt: skip

# So many steps of one batch are enqueued at once, or twice as many as workers serve its model.
BULK_WINDOW = 4
# The folder of a batch that is over is deleted once more after this, for parts that came late.
LATE_PARTS_MS = 600_000
# Ids of forgotten batches that the keeper takes off the lists in one call; bounds how long that one runs.
FORGOTTEN_AT_ONCE = 100
# The rate of a batch is an average over about this time.
RATE_OVER_S = 10

# Inputs up to this size travel through the submit script and are echoed while the job holds them. Larger ones are set
# by a command of their own (Lua would copy them twice), and a poll stays cheap.
SMALL_INPUT_BYTES = 16 * 1024
# Inputs of a claim travel through its script until there are this many bytes of them; two copies cost less than a round
# trip of their own, up to about here.
CLAIMED_INPUT_BYTES = 2 * 1024 * 1024
# An input that is set ahead of its submit script, as {id}/{seed of the call}, lives this long without it.
INPUT_AHEAD_S = 60
# Outputs up to this size travel in the settle's publish; for larger ones the waiter reads the job.
PUBLISH_MAX_BYTES = 4 * 1024

# New jobs are refused when Redis has used this share of its maxmemory: the rest is for the results of those accepted.
MEMORY_FULL_PERCENT = 90
# Redis' memory is looked at this often, and at every call that brings this many bytes.
MEMORY_LOOK_MS = 100
MEMORY_LOOK_BYTES = 1024 * 1024

# A worker not heard of for this long is not counted as serving. Heartbeats come every HEARTBEAT_S.
LIVE_MS = 5_000
HEARTBEAT_S = 1.0
# A report of a broken model counts for this long. A worker repeats it every 10 s; one that has nothing to
# serve ends, and is started again within this time.
BROKEN_KEPT_MS = 30_000
# So many jobs past their deadline a claim skips in one place; the leader ends them within a second.
LOOKED_THROUGH = 500
# Whether the steady time is that far beyond what the leader last saw, or Redis' clock made a step, only the leader can
# say. Nothing is deleted by a time farther ahead.
AHEAD_US = 5_000_000
# The keeper's lock: a dead keeper is replaced after this.
KEEPER_LOCK_MS = 2_000


def ticket_queue(model: str, version: str) -> str:
    """Return the name of a model's Celery queue; in Redis it is the key `Keys.tickets` + {model}."""
    return TICKETS + model_key(model, version)


def model_key(model: str, version: str) -> str:
    """Return the part of a key that names a model's version."""
    return f"{model}:{version}"
