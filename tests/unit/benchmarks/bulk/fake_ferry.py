"""As much of Ferry's files and batches as the benchmarks ask for: batches of a few looks that echo their input."""

import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

POLLS = 3  # after so many looks a batch is completed
ROWS_A_LOOK = 100


class State:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.numbers = itertools.count(1)
        self.cancelled: list[str] = []

    def upload(self, body: bytes, content_type: str) -> dict[str, Any]:
        boundary = b"\r\n--" + content_type.partition("boundary=")[2].encode()
        _, _, part = body.partition(b'name="file"')
        content = part.partition(b"\r\n\r\n")[2].partition(boundary)[0]
        file_id = f"file-{next(self.numbers)}"
        self.files[file_id] = content
        return {"id": file_id}

    def create(self, body: bytes) -> dict[str, Any]:
        asked = json.loads(body)
        batch_id = f"batch_{next(self.numbers)}"
        self.batches[batch_id] = {
            "id": batch_id, "status": "in_progress", "input_file_id": asked["input_file_id"], "output_file_id": None,
            "request_counts": {"failed": 0}, "progress": {"rows_done": 0},
            "timings": {"created": 1.0, "in_progress": 2.0, "finalizing": 4.0, "ended": 4.5},
        }  # fmt: skip
        return self.batches[batch_id]

    def look(self, batch_id: str) -> dict[str, Any]:
        batch = self.batches[batch_id]
        if batch["status"] == "in_progress":
            batch["progress"]["rows_done"] += ROWS_A_LOOK
            if batch["progress"]["rows_done"] >= POLLS * ROWS_A_LOOK:
                self.end(batch, "completed")
        return batch

    def end(self, batch: dict[str, Any], status: str) -> None:
        batch["status"] = status
        if status == "completed":
            batch["output_file_id"] = file_id = f"file-{next(self.numbers)}"
            self.files[file_id] = self.files[batch["input_file_id"]]

    def cancel(self, batch_id: str) -> dict[str, Any]:
        self.cancelled.append(batch_id)
        if self.batches[batch_id]["status"] == "in_progress":
            self.end(self.batches[batch_id], "cancelled")
        return self.batches[batch_id]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: State

    def log_message(self, *args: object) -> None:
        del args

    def do_GET(self) -> None:
        _, _, kind, name, *rest = self.path.split("/")
        with self.state.lock:
            if kind == "files" and rest == ["content"]:
                self.answer(self.state.files[name])
            else:
                self.answer(json.dumps(self.state.look(name)).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        with self.state.lock:
            if self.path == "/v1/files":
                found = self.state.upload(body, self.headers["Content-Type"])
            elif self.path == "/v1/batches":
                found = self.state.create(body)
            else:
                found = self.state.cancel(self.path.split("/")[3])
        self.answer(json.dumps(found).encode())

    def do_DELETE(self) -> None:
        with self.state.lock:
            del self.state.files[self.path.split("/")[3]]
        self.answer(b"{}")

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def fake_ferry() -> Iterator[tuple[str, State]]:
    state = State()
    handler = type("BoundHandler", (Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
