import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from ferry.cli.live_models import batching_of, live_broken, live_notes, tune
from ferry.errors import ConfigError
from ferry.local.data_dir import DataDir, RunInfo
from ferry.manifest import ExecutionMode
from ferry.profile import PROFILES_DIR, BatchLimits, Tuning
from ferry.settings import Settings
from tests.manifests import manifest, profile

MODEL = manifest(max_rows=None)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path, redis_url="")


def keep(settings: Settings) -> None:
    """Put a profile of 256 rows into the folder."""
    folder = settings.data_dir / PROFILES_DIR
    folder.mkdir()
    (folder / f"{MODEL.sha256}-1.json").write_text(profile(max_rows=256).model_dump_json())


class Api:
    """Answers every GET with what the test says, and has a stack's run.json."""

    def __init__(self, settings: Settings) -> None:
        self.answer: object = {}
        self.status = 200
        self.paths: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.paths.append(self.path)
                body = json.dumps(outer.answer).encode()
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.info = RunInfo(1, f"http://127.0.0.1:{self.server.server_port}", "", "", "ferry", "")


@pytest.fixture
def api(settings: Settings) -> Iterator[Api]:
    api = Api(settings)
    thread = Thread(target=api.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    with DataDir(settings.data_dir) as data_dir:
        data_dir.write_run_info(api.info)
        yield api
    api.server.shutdown()
    thread.join()
    api.server.server_close()


def version(**changes: object) -> dict[str, object]:
    measured = profile(max_rows=32).model_dump(mode="json")
    return {
        "id": "1", "sha256": MODEL.sha256, "max_rows": 5, "max_wait_ms": 2.0, "profile": measured,
    } | changes  # fmt: skip


def test_batching_of_when_a_job_is_one_run_then_one_row_whatever_was_measured(settings: Settings) -> None:
    keep(settings)
    model = manifest(max_rows=None, mode=ExecutionMode.WHOLE_JOB)
    assert batching_of(model, settings)[1] == BatchLimits(1, 0.0)


def test_batching_of_when_no_stack_is_up_then_the_kept_profile(settings: Settings) -> None:
    assert batching_of(MODEL, settings) == (None, BatchLimits(64, 0.0))
    keep(settings)
    assert batching_of(MODEL, settings) == (profile(max_rows=256), BatchLimits(256, 0.0))


def test_batching_of_when_a_stack_is_up_then_what_it_says(settings: Settings, api: Api) -> None:
    keep(settings)
    api.answer = {"versions": [version(id="2"), version()]}
    assert batching_of(MODEL, settings) == (profile(max_rows=32), BatchLimits(5, 2.0))
    assert api.paths == ["/v1/models/toy"]
    api.answer = {"versions": [version(profile=None)]}
    assert batching_of(MODEL, settings) == (None, BatchLimits(5, 2.0))


@pytest.mark.parametrize(
    ("status", "answer"),
    [(404, {}), (200, {}), (200, {"versions": []}), (200, {"versions": [version(sha256="1" * 64)]})],
)
def test_batching_of_when_the_stack_does_not_know_this_file_then_the_kept_profile(
    settings: Settings, api: Api, status: int, answer: object
) -> None:
    keep(settings)
    api.status, api.answer = status, answer
    assert batching_of(MODEL, settings)[1] == BatchLimits(256, 0.0)


def test_tune_when_nothing_is_up_then_said(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="no stack is up in FERRY_DATA_DIR, and FERRY_REDIS_URL"):
        tune("toy", Tuning(max_rows=2), settings)


def test_live_notes_when_a_check_switched_the_model_and_workers_differ_then_both_are_said(
    settings: Settings, api: Api
) -> None:
    execution = {"mode": "whole_job", "evidence": "observed", "reason": "job j moved"}
    api.answer = {"versions": [version(execution=execution, other_workers=2)]}
    assert live_notes(MODEL, settings) == [
        "now: whole jobs, each job is one run by itself: job j moved",
        "now: 2 live workers with other files under this version get no job of it",
    ]


def test_live_notes_when_nothing_is_special_then_none(settings: Settings, api: Api) -> None:
    api.answer = {"versions": [version(execution={"evidence": "proven"}, other_workers=0)]}
    assert live_notes(MODEL, settings) == []
    api.answer = {"versions": []}
    assert live_notes(MODEL, settings) == []


def test_live_broken_when_a_stack_is_up_then_reasons_by_model_and_none_without_one(
    settings: Settings, api: Api
) -> None:
    broken = {"name": "toy", "version": "1", "reason": "onnxruntime will not load it", "workers": 2}
    api.answer = {"data": [], "broken": [broken]}
    assert live_broken(settings) == {("toy", "1"): "onnxruntime will not load it"}
    api.answer = {"data": []}
    assert live_broken(settings) == {}
    api.status = 503
    assert live_broken(settings) == {}


def test_live_notes_when_workers_cannot_load_it_then_said_with_the_reason(settings: Settings, api: Api) -> None:
    version = {"id": "1", "sha256": MODEL.sha256, "max_rows": 1, "broken": "no memory", "live_workers": 0}
    api.answer = {"versions": [version]}
    assert live_notes(MODEL, settings) == ["now: broken, 0 live workers serve it: no memory"]
