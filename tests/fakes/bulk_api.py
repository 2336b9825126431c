"""The API's files and batches, for a client's transport: one batch at a time, whose life is a list of answers."""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import orjson

from api.multipart import FormReader, PartBegin, PartData

Reply = httpx.Response | BaseException
URL = "http://api:8000"
MOST_REQUESTS = 2000


class Pieces(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that comes in two halves, and breaks between them if it is told to."""

    def __init__(self, body: bytes, *, is_broken: bool) -> None:
        half = len(body) // 2
        self._halves = body[:half], body[half:]
        self._is_broken = is_broken

    def __iter__(self) -> Iterator[bytes]:
        yield self._halves[0]
        if self._is_broken:
            raise httpx.ReadError("connection reset")
        yield self._halves[1]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


def problem(status: int, code: str, detail: str, **headers: str) -> httpx.Response:
    body = {"title": code, "status": status, "code": code, "detail": detail, "error": {"message": detail}}
    return httpx.Response(status, json=body, headers={k.replace("_", "-"): v for k, v in headers.items()})


def unavailable() -> httpx.Response:
    return problem(503, "queue_unavailable", "Redis does not answer")


class BulkApi:
    """Remembers what was asked; `lives` is what each look at the batch finds, the last one from then on.

    replies: by "METHOD /path", what comes instead, one after the other (None: as usual). on_look: called before each
    look at the batch. breaks: how many downloads break in the middle.
    """

    def __init__(self, *lives: dict[str, Any]) -> None:
        self.lives = list(lives) or [{"status": "completed"}]
        self.files: dict[str, bytes] = {}
        self.names: dict[str, str] = {}
        self.requests: list[httpx.Request] = []
        self.forms: list[dict[str, str]] = []
        self.created: list[dict[str, Any]] = []
        self.replies: dict[str, list[Reply | None]] = {}
        self.on_look: Callable[[], None] = lambda: None
        self.breaks = 0
        self.output, self.output_type = b"id\n1\n", "text/csv"
        self.n_batches = 1  # how many the list shows
        self.has_ranges = True
        self.are_sums_wrong = False

    def store(self, file_id: str, content: bytes, name: str = "out.jsonl") -> None:
        self.files[file_id], self.names[file_id] = content, name

    @property
    def asked(self) -> list[str]:
        return [f"{request.method} {request.url.path}" for request in self.requests]

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        assert len(self.requests) < MOST_REQUESTS, "asked for ever"
        key = f"{request.method} {request.url.path}"
        reply = self.replies[key].pop(0) if self.replies.get(key) else None
        if isinstance(reply, BaseException):
            raise reply
        return reply or self._answer(request, request.url.path)

    def _answer(self, request: httpx.Request, path: str) -> httpx.Response:
        if path == "/v1/models/mnist":
            float32, int64 = ({"name": dtype, "dtype": dtype} for dtype in ("float32", "int64"))
            versions = [{"id": "1", "outputs": [float32]}, {"id": "2", "outputs": [float32, int64]}]
            return httpx.Response(200, json={"name": "mnist", "versions": versions})
        if path.startswith("/v1/models/"):
            return problem(404, "not_found", f"no model {path.split('/')[3]!r}; there are mnist:1, mnist:2")
        if path.startswith("/v1/files"):
            return self._file(request, path.removeprefix("/v1/files").strip("/"))
        return self._batch(request, path.removeprefix("/v1/batches").strip("/"))

    def _file(self, request: httpx.Request, rest: str) -> httpx.Response:
        if not rest:
            return self._upload(request)
        file_id, _, content = rest.partition("/")
        if file_id not in self.files:
            return problem(404, "not_found", f"no file {file_id!r}")
        if request.method == "DELETE":
            del self.files[file_id]
            return httpx.Response(200, json={"id": file_id, "object": "file", "deleted": True})
        return self._content(request, file_id) if content else httpx.Response(200, json=self._record(file_id))

    def _upload(self, request: httpx.Request) -> httpx.Response:
        assert int(request.headers["content-length"]) == len(request.content)
        reader, name, part = FormReader(request.headers["content-type"]), "", ""
        fields = dict[str, bytes]()
        for event in reader.feed(request.content):
            if isinstance(event, PartBegin):
                part, name = event.name, event.filename or name
                fields[part] = b""
            elif isinstance(event, PartData):
                fields[part] += event.data
        assert reader.is_whole
        assert next(iter(fields)) == "purpose"
        self.store("file-in", fields.pop("file"), name)
        self.forms.append({key: value.decode() for key, value in fields.items()})
        return httpx.Response(200, json=self._record("file-in"))

    def _record(self, file_id: str) -> dict[str, Any]:
        content = self.files[file_id]
        checksum = hashlib.sha256(content + b"x" * self.are_sums_wrong).hexdigest()
        return {
            "id": file_id, "object": "file", "bytes": len(content), "created_at": 1_700_000_000,
            "expires_at": 1_700_003_600, "filename": self.names[file_id], "purpose": "batch", "status": "processed",
            "sha256": checksum,
        }  # fmt: skip

    def _content(self, request: httpx.Request, file_id: str) -> httpx.Response:
        content = self.files[file_id]
        start = int(request.headers["range"].removeprefix("bytes=").removesuffix("-")) if self.has_ranges else 0
        is_broken, self.breaks = self.breaks > 0, self.breaks - 1
        headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if self.has_ranges else {}
        return httpx.Response(
            206 if self.has_ranges else 200, headers=headers, stream=Pieces(content[start:], is_broken=is_broken)
        )

    def _output(self, from_row: int) -> httpx.Response:
        """Stream the output, with a row per line, from a row on; `breaks` streams break in the middle."""
        rows = self.output.splitlines(keepends=True)
        content = b"".join(rows[from_row + (self.output_type != "application/jsonl") :]) if from_row else self.output
        is_broken, self.breaks = self.breaks > 0, self.breaks - 1
        stream = Pieces(content, is_broken=is_broken)
        return httpx.Response(200, headers={"Content-Type": self.output_type}, stream=stream)

    def _batch(self, request: httpx.Request, rest: str) -> httpx.Response:
        if request.method == "POST" and not rest:
            self.created.append(orjson.loads(request.content))
            return httpx.Response(200, json=batch_body(status="validating"))
        if not rest:
            after = int(request.url.params.get("after", "batch_0").removeprefix("batch_"))
            ids = range(after + 1, self.n_batches + 1)[: int(request.url.params["limit"])]
            return httpx.Response(
                200, json={"object": "list", "data": [batch_body(**self.lives[-1]) | {"id": f"batch_{i}"} for i in ids]}
            )
        if not rest.startswith("batch_1"):
            return problem(404, "not_found", f"no batch {rest!r}")
        if rest.endswith("/output"):
            return self._output(int(request.url.params["from_row"]))
        if rest.endswith("/cancel"):
            self.lives = [{"status": "cancelled", "counts": (10, 4, 0)}]
            return httpx.Response(200, json=batch_body(status="cancelling"))
        self.on_look()
        life = self.lives.pop(0) if len(self.lives) > 1 else self.lives[0]
        return httpx.Response(200, json=batch_body(**life))


def batch_body(
    *, status: str, counts: tuple[int, int, int] = (0, 0, 0), faults: int = 0, rate: float | None = None, **more: Any
) -> dict[str, Any]:
    """Return a batch on the wire. counts: total, completed, failed; faults: how many lines are wrong."""
    total, completed, failed = counts
    errors = [
        {"code": "invalid_json_line", "message": f"wrong {n}", "param": None, "line": n} for n in range(1, faults + 1)
    ]
    return {
        "id": "batch_1", "object": "batch", "endpoint": "/v2/models/mnist/infer", "model": "mnist",
        "model_version": "1", "errors": {"object": "list", "data": errors} if errors else None,
        "input_file_id": "file-in", "completion_window": "24h", "status": status, "output_file_id": None,
        "error_file_id": None, "created_at": 1_700_000_000, "in_progress_at": None, "expires_at": 1_700_086_400,
        "finalizing_at": None, "completed_at": None, "failed_at": None, "expired_at": None, "cancelling_at": None,
        "cancelled_at": None, "request_counts": {"total": total, "completed": completed, "failed": failed},
        "metadata": {}, "progress": {"rows_done": completed + failed, "rows_per_s": rate,
                                     "eta_s": (total - completed - failed) / rate if rate else None,
                                     "chunks": 3, "chunks_done": 1},
        "timings": {"created": 1_700_000_000.25, "in_progress": 1_700_000_001.0, "finalizing": None,
                    "ended": 1_700_000_003.0 if status == "completed" else None},
        "format": "jsonl", "output_format": "jsonl", "notes": [],
    } | more  # fmt: skip
