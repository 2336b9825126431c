"""`ferry batch` as it is typed, on a stand-in of the API and a clock that moves by hand."""

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from ferry.cli import batch_session, batch_watch
from ferry.cli import main as cli
from ferry.cli.batch_stream import RowStream
from ferry.client import Client
from tests.fakes.bulk_api import URL, BulkApi, batch_body, problem, unavailable

LINES = b'{"x": 1}\n{"x": 2}\n'
FAILURES = b"".join(
    b'{"custom_id":"%b","row":%d,"response":null,"error":{"code":"model_error","message":"no"}}\n' % each
    for each in ((b"a", 3), (b"b", 7))
)
DROPPED = httpx.ConnectError("Connection refused")
LOOK = "GET /v1/batches/batch_1"
DONE = {"status": "completed", "counts": (10, 10, 0), "output_file_id": "file-out"}
RUNNING = {"status": "in_progress", "counts": (10, 4, 0), "rate": 2.0}
SOME_FAILED = {"status": "completed", "counts": (10, 8, 2), "output_file_id": "file-out", "error_file_id": "file-err"}


@dataclass
class Shown:
    """What a command left: its exit status and what it printed."""

    status: int | str | None
    out: str
    err: str


@dataclass
class Shell:
    """Types commands."""

    api: BulkApi
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]
    now_s: float = 0.0
    pauses: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now_s += seconds

    def monotonic(self) -> float:
        return self.now_s

    def type(self, line: str) -> Shown:
        self.monkeypatch.setattr(sys, "argv", ["ferry", "batch", *line.split()])
        with pytest.raises(SystemExit) as end:
            cli.main()
        shown = self.capsys.readouterr()
        return Shown(end.value.code, shown.out, shown.err)

    def answer(self, *lines: str) -> None:
        """Be somebody at a terminal, who types these."""
        answers = list(lines)

        def readline() -> str:
            if not answers:
                raise KeyboardInterrupt
            return answers.pop(0) + "\n"

        self.monkeypatch.setattr(batch_watch, "is_interactive", lambda: True)
        self.monkeypatch.setattr(sys.stdin, "readline", readline, raising=False)

    def press_at_look(self, number: int) -> None:
        """Press Ctrl-C at this look at the batch."""
        looks = 0

        def press() -> None:
            nonlocal looks
            looks += 1
            if looks == number:
                raise KeyboardInterrupt

        self.api.on_look = press


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    api = BulkApi(DONE)
    api.store("file-out", b'{"y": 1}\n')
    api.store("file-err", FAILURES)
    shell = Shell(api, monkeypatch, capsys)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("FERRY_URL", URL)
    monkeypatch.setattr(batch_session, "time", shell)
    monkeypatch.setattr(
        batch_session, "make_client", lambda url: Client(url, transport=api.transport, sleep=shell.sleep)
    )
    (tmp_path / "in.jsonl").write_bytes(LINES)
    return shell


# --- run, to the end


def test_run_when_every_row_succeeds_then_status_0_and_the_output_is_here(shell: Shell) -> None:
    shell.api.lives = [{"status": "validating"}, RUNNING, DONE]
    shown = shell.type("run in.jsonl --model mnist")
    assert shown.status == 0
    assert Path("in.out.jsonl").read_bytes() == b'{"y": 1}\n'
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert lines[0] == "batch batch_1 of in.jsonl; Ctrl-C leaves or cancels it"
    assert "validating: counting rows" in lines
    assert "in_progress: 4 of 10 rows, 2 rows/s, 3.0 s left" in lines
    assert lines[-2:] == [
        "batch batch_1 completed: 10 of 10 rows succeeded in 2.0 s (5 rows/s)", "output: in.out.jsonl"
    ]  # fmt: skip
    assert shell.api.created[0] == {
        "input_file_id": "file-in", "endpoint": "/v2/models/mnist/infer", "completion_window": "24h",
        "metadata": {"output_format": "jsonl"},
    }  # fmt: skip
    assert sorted(each.name for each in Path().iterdir()) == ["in.jsonl", "in.out.jsonl"]


def test_run_when_all_is_named_then_all_is_sent(shell: Shell) -> None:
    shown = shell.type("run in.jsonl -m mnist:2 -o o.csv --join id,name --window 1h --error-file e.jsonl")
    assert shown.status == 0
    assert shell.api.created[0] | {"input_file_id": ""} == {
        "input_file_id": "", "endpoint": "/v2/models/mnist/versions/2/infer", "completion_window": "1h",
        "metadata": {"output_format": "csv", "join": "id,name"},
    }  # fmt: skip
    assert shell.api.forms == [{"purpose": "batch"}]
    assert Path("o.csv").exists()


def test_run_when_the_model_has_several_outputs_and_the_input_is_npy_then_the_output_is_npz(shell: Shell) -> None:
    Path("rows.npy").write_bytes(b"\x93NUMPY")
    assert shell.type("run rows.npy -m mnist").status == 0
    assert shell.api.created[0]["metadata"] == {"output_format": "npz"}
    assert Path("rows.out.npz").exists()


def test_run_when_formulas_are_escaped_then_the_batch_says_so(shell: Shell) -> None:
    assert shell.type("run in.jsonl -m mnist -o o.csv --escape-formulas").status == 0
    assert shell.api.created[0]["metadata"] == {"output_format": "csv", "csv_escape_formulas": "true"}


def test_run_when_rows_failed_then_status_3_and_says_where_why_stands(shell: Shell) -> None:
    shell.api.lives = [SOME_FAILED]
    shown = shell.type("run in.jsonl -m mnist")
    assert shown.status == 3
    assert shown.err.splitlines()[-3:] == [
        "2 rows: model_error: no (such as row 3, id a)", "2 of 10 rows failed; why: in.out.jsonl.errors.jsonl",
        f"run them again: ferry batch run --retry-failed batch_1 -o in.out.jsonl --url {URL}",
    ]  # fmt: skip
    assert Path("in.out.jsonl.errors.jsonl").read_bytes() == FAILURES


def test_run_when_some_failures_are_not_of_the_input_then_the_next_step_is_to_run_them_again(shell: Shell) -> None:
    shell.api.lives = [SOME_FAILED]
    shell.api.store("file-err", FAILURES.replace(b"model_error", b"invalid_input", 1))
    lines = shell.type("run in.jsonl -m mnist -o o.jsonl --url http://there:1").err.splitlines()
    assert lines[-1] == "run them again: ferry batch run --retry-failed batch_1 -o o.jsonl --url http://there:1"


def test_run_when_all_failures_are_of_the_input_then_the_next_step_is_to_repair_the_rows(shell: Shell) -> None:
    shell.api.lives = [SOME_FAILED]
    shell.api.store("file-err", FAILURES.replace(b"model_error", b"invalid_input"))
    lines = shell.type("run in.jsonl -m mnist").err.splitlines()
    assert lines[-1] == "repair these rows in a new file and run that; --retry-failed reads the same file again"


def test_run_when_the_check_left_notes_then_a_line_each(shell: Shell) -> None:
    shell.api.lives = [DONE | {"notes": ["2 files were skipped", "[b]no markup[/b]"]}]
    lines = shell.type("run in.jsonl -m mnist").err.splitlines()
    assert [line for line in lines if line.startswith("note: ")] == [
        "note: 2 files were skipped", "note: [b]no markup[/b]"
    ]  # fmt: skip
    assert "note: 2 files were skipped" in shell.type("show batch_1").out


def test_run_when_every_row_failed_then_says_that_there_is_no_output(shell: Shell) -> None:
    shell.api.lives = [{"status": "completed", "counts": (10, 0, 10), "error_file_id": "file-err"}]
    shown = shell.type("run in.jsonl -m mnist --error-file why.jsonl")
    assert shown.status == 3
    assert shown.err.splitlines()[-4:] == [
        "there is no output file, for no row succeeded", "2 rows: model_error: no (such as row 3, id a)",
        "10 of 10 rows failed; why: why.jsonl",
        f"run them again: ferry batch run --retry-failed batch_1 -o in.out.jsonl --error-file why.jsonl --url {URL}",
    ]  # fmt: skip
    assert not Path("in.out.jsonl").exists()
    assert Path("why.jsonl").exists()


def test_run_when_the_file_is_wrong_then_status_1_and_its_first_lines(shell: Shell) -> None:
    shell.api.lives = [{"status": "failed", "faults": 34}]
    shown = shell.type("run in.jsonl -m mnist")
    lines = shown.err.splitlines()
    assert shown.status == 1
    assert "batch batch_1 failed: the file cannot be run" in lines
    assert "the file, 34 lines: invalid_json_line: wrong 1 (such as line 1)" in lines


@pytest.mark.parametrize("status", ["expired", "cancelled"])
def test_run_when_it_ends_early_then_status_1_and_what_was_done_is_here(shell: Shell, status: str) -> None:
    shell.api.lives = [SOME_FAILED | {"status": status, "counts": (10, 4, 1)}]
    shown = shell.type("run in.jsonl -m mnist")
    assert shown.status == 1
    assert shown.err.splitlines()[-5:] == [
        f"batch batch_1 {status}: 5 of 10 rows, 1 failed",
        "what was done: in.out.jsonl",
        "2 rows: model_error: no (such as row 3, id a)",
        "what failed or was never run: in.out.jsonl.errors.jsonl",
        f"run them again: ferry batch run --retry-failed batch_1 -o in.out.jsonl --url {URL}",
    ]
    assert Path("in.out.jsonl").exists()
    assert Path("in.out.jsonl.errors.jsonl").exists()


def test_run_when_out_is_a_dash_then_the_output_alone_is_on_stdout(shell: Shell) -> None:
    shell.api.lives = [SOME_FAILED]
    shown = shell.type("run in.jsonl -m mnist -o -")
    assert (shown.status, shown.out) == (3, '{"y": 1}\n')
    assert Path("in.out.jsonl.errors.jsonl").exists()


def test_run_when_it_takes_long_then_a_plain_line_every_few_seconds(shell: Shell) -> None:
    shell.api.lives = [*[RUNNING] * 20, DONE]
    shown = shell.type("run in.jsonl -m mnist")
    n_lines = shown.err.count("in_progress:")
    assert 3 <= n_lines <= shell.now_s / 5 + 1


# --- run, refused before anything is sent


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("gone.jsonl -m mnist", "there is no file gone.jsonl"),
        (". -m mnist", ". is a folder, not a file"),
        ("empty.csv -m mnist", "empty.csv: the file is empty"),
        ("odd.xyz -m mnist", "odd.xyz: 'odd.xyz' is of no known format"),
        ("in.jsonl -m mnist -o no/out.csv", "-o no/out.csv: there is no folder no; make it first"),
        ("in.jsonl -m mnist -o .", "-o . is a folder; name a file in it"),
        ("in.jsonl -m mnist -o ./in.jsonl", "-o in.jsonl is the input itself; name another file"),
        ("in.jsonl -m mnist --error-file in.jsonl", "--error-file in.jsonl is the input itself"),
        ("in.jsonl -m mnist -o a --error-file a", "-o and --error-file are both a; name two files"),
        ("in.jsonl -m mnist -o o.xlsx", "-o o.xlsx: no output is written as .xlsx; name it .jsonl"),
        ("in.jsonl -m mnist --escape-formulas", "--escape-formulas is for csv and tsv, the output is jsonl"),
        ("in.jsonl -m mnist --format xls", "there is no --format 'xls'; there are jsonl, csv"),
    ],
)
def test_run_when_it_cannot_be_then_nothing_is_sent(shell: Shell, line: str, why: str) -> None:
    Path("empty.csv").touch()
    Path("odd.xyz").write_bytes(b"words")
    shown = shell.type(f"run {line}")
    assert shown.status == 1
    assert shown.err.startswith(f"ferry: {why}")
    assert shell.api.requests == []


def test_run_when_the_model_is_mistyped_then_says_what_there_is_and_uploads_nothing(shell: Shell) -> None:
    shown = shell.type("run in.jsonl -m mnits")
    assert (shown.status, shown.err) == (1, "ferry: no model 'mnits'; there are mnist:1, mnist:2\n")
    assert shell.api.asked == ["GET /v1/models/mnits"]


def test_run_when_a_terminal_would_get_binary_then_is_refused(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    shown = shell.type("run in.jsonl -m mnist -o - --format npz")
    assert shown.status == 1
    assert "npz is not for a terminal; name a file with -o" in shown.err
    assert shell.api.requests == []


def test_run_when_no_model_is_named_then_status_2(shell: Shell) -> None:
    shown = shell.type("run in.jsonl")
    assert shown.status == 2
    assert "--model" in shown.err


def test_run_when_nobody_answers_then_says_so_at_once(shell: Shell) -> None:
    shell.api.replies["GET /v1/models/mnist"] = [DROPPED]
    shown = shell.type("run in.jsonl -m mnist")
    assert shown.status == 1
    assert shown.err.startswith(f"ferry: no Ferry API answers at {URL}")
    assert shell.pauses == [0]


# --- run, where making the batch goes wrong


def test_run_when_the_batch_is_refused_then_the_input_is_deleted_again(shell: Shell) -> None:
    shell.api.replies["POST /v1/batches"] = [problem(400, "invalid_input", "the window must be 1m to 30d")]
    shown = shell.type("run in.jsonl -m mnist --window never")
    assert (shown.status, shown.err) == (1, "ferry: the window must be 1m to 30d\n")
    assert "file-in" not in shell.api.files


def test_run_when_the_api_restarts_while_the_batch_is_made_then_it_is_made_once(shell: Shell) -> None:
    shell.api.replies["POST /v1/batches"] = [DROPPED, unavailable()]
    shown = shell.type("run in.jsonl -m mnist")
    assert shown.status == 0
    keys = [each.headers["idempotency-key"] for each in shell.api.requests if "idempotency-key" in each.headers]
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_run_when_uploading_fails_then_says_why(shell: Shell) -> None:
    shell.api.replies["POST /v1/files"] = [problem(413, "body_too_large", "the file is too large; the limit is 9")]
    shown = shell.type("run in.jsonl -m mnist")
    assert (shown.status, shown.err) == (1, "ferry: the file is too large; the limit is 9\n")


# --- an API that goes away while a batch is watched


@pytest.mark.parametrize(
    "trouble", [DROPPED, unavailable(), httpx.ReadTimeout("slow"), httpx.Response(502, text="bad")]
)
def test_run_when_the_api_is_away_for_a_while_then_goes_on(shell: Shell, trouble: httpx.Response | Exception) -> None:
    shell.api.lives = [RUNNING, DONE]
    shell.api.replies[LOOK] = [None, trouble, trouble, trouble]
    shown = shell.type("run in.jsonl -m mnist")
    assert shown.status == 0
    assert shown.err.count("; waiting for it, up to 600 s") == 1
    assert "the API answers again" in shown.err


def test_run_when_the_api_stays_away_then_gives_up_and_says_how_to_come_back(shell: Shell) -> None:
    shell.api.replies[LOOK] = [None, *[DROPPED] * 1000]
    shell.api.lives = [RUNNING]
    shown = shell.type("run in.jsonl -m mnist --patience 30")
    assert shown.status == 1
    assert 30 <= shell.now_s < 40
    assert shown.err.splitlines()[-2] == f"to come back: ferry batch resume batch_1 -o in.out.jsonl --url {URL}"
    assert shown.err.splitlines()[-1].startswith("ferry: no Ferry API answers")


def test_run_when_the_batch_is_forgotten_then_status_1(shell: Shell) -> None:
    shell.api.lives = [RUNNING]
    shell.api.replies[LOOK] = [None, problem(404, "not_found", "no batch 'batch_1'")]
    shown = shell.type("run in.jsonl -m mnist")
    assert shown.status == 1
    assert shown.err.endswith("ferry: no batch 'batch_1'\n")


def test_run_when_the_download_breaks_for_long_then_goes_on_where_it_was(shell: Shell) -> None:
    shell.api.breaks = 1
    shell.api.replies["GET /v1/files/file-out/content"] = [None, *[DROPPED] * 9]
    shown = shell.type("run in.jsonl -m mnist")
    assert shown.status == 0
    assert Path("in.out.jsonl").read_bytes() == b'{"y": 1}\n'


# --- Ctrl-C


def test_run_when_interrupted_while_uploading_then_no_batch_is_made(shell: Shell) -> None:
    shell.api.replies["POST /v1/files"] = [KeyboardInterrupt()]
    shown = shell.type("run in.jsonl -m mnist")
    assert (shown.status, shown.err) == (130, "stopped while uploading; nothing is left of it\n")
    assert shell.api.created == []


def test_run_when_interrupted_while_the_batch_is_made_then_it_counts_once_there_is_one(shell: Shell) -> None:
    create = "POST /v1/batches"
    press = Pressing(shell.api, create, times=1)
    shell.api.replies[create] = [None]
    shell.monkeypatch.setattr(batch_session, "make_client", press.make_client(shell.sleep))
    shown = shell.type("run in.jsonl -m mnist")
    assert shown.status == 130
    assert "one moment, the batch is being made; Ctrl-C again stops at once" in shown.err
    assert "to come back: ferry batch resume batch_1 -o in.out.jsonl" in shown.err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_run_when_interrupted_twice_while_the_batch_is_made_then_the_input_is_deleted(shell: Shell) -> None:
    press = Pressing(shell.api, "POST /v1/batches", times=2)
    shell.monkeypatch.setattr(batch_session, "make_client", press.make_client(shell.sleep))
    shown = shell.type("run in.jsonl -m mnist")
    assert shown.status == 130
    assert "stopped before there was a batch; nothing is left of it" in shown.err
    assert "file-in" not in shell.api.files


class Pressing:
    """Sends this process a real SIGINT when a request comes."""

    def __init__(self, api: BulkApi, key: str, times: int) -> None:
        self._api, self._key, self._times = api, key, times

    def make_client(self, sleep: Callable[[float], None]) -> Callable[[str], Client]:
        return lambda url: Client(url, transport=httpx.MockTransport(self), sleep=sleep)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if f"{request.method} {request.url.path}" == self._key:
            for _ in range(self._times):
                signal.raise_signal(signal.SIGINT)
        return self._api(request)


def test_run_when_interrupted_without_a_terminal_then_leaves_it_running(shell: Shell) -> None:
    shell.api.lives = [RUNNING]
    shell.press_at_look(2)
    shown = shell.type("run in.jsonl -m mnist")
    assert shown.status == 130
    assert shown.err.splitlines()[-2:] == [
        f"to come back: ferry batch resume batch_1 -o in.out.jsonl --url {URL}",
        "batch batch_1 goes on without being watched",
    ]
    assert "POST /v1/batches/batch_1/cancel" not in shell.api.asked


@pytest.mark.parametrize("answers", [["l"], ["what", "Leave"], ["", "x", "y"], []])
def test_run_when_asked_and_left_then_status_130(shell: Shell, answers: list[str]) -> None:
    shell.api.lives = [RUNNING]
    shell.press_at_look(2)
    shell.answer(*answers)
    shown = shell.type("run in.jsonl -m mnist")
    assert shown.status == 130
    assert "leave it running, cancel it, or go on watching? [l/c/w]" in shown.err
    assert "POST /v1/batches/batch_1/cancel" not in shell.api.asked


def test_run_when_asked_and_cancelled_then_fetches_what_was_done(shell: Shell) -> None:
    shell.api.lives = [RUNNING]
    shell.press_at_look(2)
    shell.answer("c")
    shown = shell.type("run in.jsonl -m mnist")
    assert shown.status == 1
    assert shown.err.splitlines()[-1] == "batch batch_1 cancelled: 4 of 10 rows"


def test_run_when_asked_and_watched_on_then_it_ends_as_ever(shell: Shell) -> None:
    shell.api.lives = [RUNNING, RUNNING, DONE]
    shell.press_at_look(2)
    shell.answer("w")
    assert shell.type("run in.jsonl -m mnist").status == 0
    assert Path("in.out.jsonl").exists()


def test_run_when_interrupted_while_downloading_then_says_how_to_come_back(shell: Shell) -> None:
    shell.api.replies["GET /v1/files/file-out/content"] = [KeyboardInterrupt()]
    shown = shell.type("run in.jsonl -m mnist")
    assert shown.status == 130
    assert shown.err.splitlines()[-1].startswith("stopped; to come back: ferry batch resume batch_1 -o in.out.jsonl")


# --- resume


def test_resume_when_it_is_over_then_fetches_it(shell: Shell) -> None:
    shell.api.lives = [SOME_FAILED]
    shown = shell.type("resume batch_1 -o there.jsonl")
    assert shown.status == 3
    assert Path("there.jsonl").read_bytes() == b'{"y": 1}\n'
    assert Path("there.jsonl.errors.jsonl").exists()


def test_resume_when_it_runs_then_watches_it(shell: Shell) -> None:
    shell.api.lives = [RUNNING, RUNNING, DONE]
    assert shell.type("resume batch_1 -o there.jsonl").status == 0


def test_resume_when_no_out_is_named_then_the_inputs_name_is_taken(shell: Shell) -> None:
    shell.api.store("file-in", LINES, "digits.csv")
    assert shell.type("resume batch_1").status == 0
    assert Path("digits.out.jsonl").exists()


def test_resume_when_the_input_is_gone_then_the_batchs_name_is_taken(shell: Shell) -> None:
    assert shell.type("resume batch_1").status == 0
    assert Path("batch_1.out.jsonl").exists()


def test_resume_when_out_is_a_dash_then_is_on_stdout_and_the_way_back_names_both(shell: Shell) -> None:
    shell.api.lives = [RUNNING]
    shell.press_at_look(2)
    shown = shell.type("resume batch_1 -o -")
    assert "to come back: ferry batch resume batch_1 -o - --error-file batch_1.errors.jsonl" in shown.err
    shell.api.lives = [DONE]
    assert shell.type("resume batch_1 -o -").out == '{"y": 1}\n'


def test_resume_when_there_is_no_such_batch_then_status_1(shell: Shell) -> None:
    shown = shell.type("resume batch_7 -o x")
    assert (shown.status, shown.err) == (1, "ferry: no batch 'batch_7'\n")


# --- list, show, cancel


def test_list_when_there_are_more_then_says_so(shell: Shell) -> None:
    shell.api.n_batches = 3
    shown = shell.type("list --limit 2")
    assert shown.status == 0
    assert "batch_1" in shown.out
    assert "batch_2" in shown.out
    assert "batch_3" not in shown.out
    assert "there are more; --limit shows more of them" in shown.out


@pytest.mark.parametrize("is_terminal", [False, True])
@pytest.mark.parametrize("columns", [80, 30])
def test_list_when_the_terminal_is_narrow_or_a_pipe_then_ids_are_whole(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, columns: int, *, is_terminal: bool
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    if is_terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "dumb")
    batch_id, model = "batch_" + "a1" * 13, "a-model-with-a-rather-long-name"
    body = batch_body(status="completed", counts=(10, 10, 0)) | {"id": batch_id, "model": model}
    shell.api.replies["GET /v1/batches"] = [httpx.Response(200, json={"object": "list", "data": [body]})]
    shown = shell.type("list").out
    assert batch_id in shown
    assert "created" in shown
    if not is_terminal:
        (line,) = [line for line in shown.splitlines() if batch_id in line]
        assert model in line


def test_list_when_many_are_asked_for_then_goes_through_the_pages(shell: Shell) -> None:
    shell.api.n_batches = 250
    shown = shell.type("list --limit 1000")
    assert "batch_250" in shown.out
    assert "there are more" not in shown.out
    assert shell.api.asked == ["GET /v1/batches"] * 3


def test_list_when_there_are_none_then_says_so(shell: Shell) -> None:
    shell.api.n_batches = 0
    assert shell.type("list").out == "No batches.\n"


def test_run_when_something_was_decided_about_the_file_then_it_is_said_once(shell: Shell) -> None:
    Path("in.csv").write_bytes(b"0.5;1\n")
    notes = {"notes": ["the file has no header"]}
    shell.api.lives = [{"status": "validating"}, RUNNING | notes, RUNNING | notes, DONE | notes]
    shown = shell.type("run in.csv --model mnist --header no --delimiter ; --decimal . --encoding utf-8")
    assert shown.err.splitlines().count("note: the file has no header") == 1
    assert shell.api.created[0]["metadata"] == {
        "output_format": "csv", "header": "no", "delimiter": ";", "decimal": ".", "encoding": "utf-8",
    }  # fmt: skip


def test_show_when_something_was_decided_about_the_file_then_it_is_said(shell: Shell) -> None:
    shell.api.lives = [DONE | {"notes": ["the file has no header"]}]
    assert "note: the file has no header" in shell.type("show batch_1").out


def test_show_when_it_failed_then_all_fields_and_its_first_faults(shell: Shell) -> None:
    shell.api.lives = [SOME_FAILED | {"status": "failed", "faults": 30, "metadata": {"join": "id"}}]
    shown = shell.type("show batch_1")
    assert shown.status == 0
    for text in ("batch_1", "failed", "mnist:1", "/v2/models/mnist/infer", "10 of 10 rows, 2 failed", "1 of 3",
                 "jsonl", "file-in", "file-out", "file-err", "24h", "join=id", "2023-11-14 22:13:20 UTC",
                 "the file, 30 lines: invalid_json_line: wrong 1 (such as line 1)"):  # fmt: skip
        assert text in shown.out
    assert "line 21" not in shown.out


def test_cancel_then_says_what_became_of_it(shell: Shell) -> None:
    assert shell.type("cancel batch_1").out == "batch_1 is cancelling.\n"


def test_cancel_when_there_is_no_such_batch_then_status_1(shell: Shell) -> None:
    shown = shell.type("cancel other")
    assert shown.status == 1
    assert shown.err.startswith("ferry: no batch 'other")


# --- the address


def test_url_when_none_is_named_then_it_is_the_stack_that_is_up(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FERRY_URL")
    monkeypatch.setattr(batch_session, "running_api_url", lambda _: "http://here:8123")
    shell.type("show batch_1")
    assert shell.api.requests[0].url.host == "here"


def test_url_when_no_stack_is_up_then_it_is_where_one_would_be(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FERRY_URL")
    monkeypatch.setenv("FERRY_API_PORT", "8765")
    shell.type("show batch_1")
    assert (shell.api.requests[0].url.host, shell.api.requests[0].url.port) == ("127.0.0.1", 8765)


def test_url_when_it_is_an_option_then_the_environment_does_not_count(shell: Shell) -> None:
    shell.type("show batch_1 --url http://there:1")
    assert shell.api.requests[0].url.host == "there"


# --- where errors go, rows as they come, failed rows again


def test_run_when_errors_are_inline_then_asked_for(shell: Shell) -> None:
    assert shell.type("run in.jsonl -m mnist --errors inline").status == 0
    assert shell.api.created[0]["metadata"] == {"output_format": "jsonl", "errors": "inline"}


def test_run_when_errors_are_a_path_then_the_other_option_is_named(shell: Shell) -> None:
    shown = shell.type("run in.jsonl -m mnist --errors e.jsonl")
    assert shown.status == 1
    assert "--errors takes file or inline, not 'e.jsonl'; --error-file takes a path" in shown.err
    assert shell.api.asked == []


@pytest.mark.parametrize("breaks", [0, 2])
def test_run_when_it_follows_then_the_rows_are_written_and_not_fetched_again(shell: Shell, breaks: int) -> None:
    shell.api.output = b"id,y\n" + b"".join(b"%d,x\n" % n for n in range(9))
    shell.api.breaks = breaks
    shown = shell.type("run in.jsonl -m mnist -o o.csv --follow")
    assert shown.status == 0
    assert Path("o.csv").read_bytes() == shell.api.output
    assert "GET /v1/files/file-out/content" not in shell.api.asked


def test_run_when_it_follows_to_stdout_then_the_rows_alone_are_there(shell: Shell) -> None:
    shell.api.output = b"id\n1\n"
    shown = shell.type("run in.jsonl -m mnist -o - --format csv --follow")
    assert (shown.status, shown.out) == (0, "id\n1\n")


def test_run_when_it_follows_and_is_interrupted_then_it_goes_on_with_the_next_row(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.api.output = b"id\n1\n2\n3\n"
    shell.answer("w")
    flushed = 0
    write_all = RowStream.write_all

    def write_some(stream: RowStream, *how: object) -> None:
        nonlocal flushed
        flushed += 1
        if flushed == 1:  # Ctrl-C after the header and a row
            shell.api.output, whole = b"id\n1\n", shell.api.output
            write_all(stream, *how)  # type: ignore[arg-type]
            shell.api.output = whole
            raise KeyboardInterrupt
        write_all(stream, *how)  # type: ignore[arg-type]

    monkeypatch.setattr(RowStream, "write_all", write_some)
    assert shell.type("run in.jsonl -m mnist -o o.csv --follow").status == 0
    assert Path("o.csv").read_bytes() == b"id\n1\n2\n3\n"
    assert [each.url.params["from_row"] for each in shell.api.requests if each.url.path.endswith("/output")] == [
        "0",
        "1",
    ]


def test_run_when_it_follows_a_whole_file_then_refused_before_anything_is_sent(shell: Shell) -> None:
    shown = shell.type("run in.jsonl -m mnist --format parquet -o o.parquet --follow")
    assert shown.status == 1
    assert "--follow is for jsonl, csv, tsv, the output is parquet; leave it out" in shown.err
    assert "POST /v1/files" not in shell.api.asked


def test_run_when_failed_rows_are_run_again_then_the_merged_output_is_here(shell: Shell) -> None:
    shell.api.store("file-in", LINES, "in.jsonl")
    shell.api.lives = [SOME_FAILED, DONE]
    shown = shell.type("run --retry-failed batch_1 --window 1h")
    assert shown.status == 0
    assert shell.api.created == [{"completion_window": "1h", "metadata": {"retry_of": "batch_1"}}]
    assert Path("in.out.jsonl").read_bytes() == b'{"y": 1}\n'
    assert "POST /v1/files" not in shell.api.asked
    assert shown.err.splitlines()[0].startswith("batch batch_1 of the rows that failed in batch_1")


@pytest.mark.parametrize("command", ["run --retry-failed batch_1", "resume batch_1"])
def test_retry_and_resume_when_the_name_says_another_format_then_refused_before_anything_runs(
    shell: Shell, command: str
) -> None:
    shell.api.store("file-in", LINES, "in.jsonl")
    shown = shell.type(f"{command} -o r.parquet")
    assert shown.status == 1
    assert "-o r.parquet is named .parquet, which is parquet, but the output of batch_1 is jsonl" in shown.err
    assert shell.api.created == []
    assert not Path("r.parquet").exists()


def test_run_when_the_batch_to_retry_has_no_id_then_says_that_it_is_missing(shell: Shell) -> None:
    shown = shell.type("run --retry-failed=")
    assert shown.status == 2
    assert "needs the id of a batch" in shown.err
    assert shell.api.asked == []


@pytest.mark.parametrize(
    "more", ["in.jsonl", "-m mnist", "--format csv", "--join id", "--errors inline", "--follow", "--escape-formulas"]
)
def test_run_when_failed_rows_are_run_again_with_other_options_then_status_2(shell: Shell, more: str) -> None:
    shown = shell.type(f"run {more} --retry-failed batch_1")
    assert shown.status == 2
    assert "leave them out" in shown.err
    assert shell.api.asked == []


def test_run_when_the_failed_rows_cannot_be_run_again_then_says_why(shell: Shell) -> None:
    shell.api.replies["POST /v1/batches"] = [problem(409, "conflict", "no row of batch batch_1 failed")]
    shown = shell.type("run --retry-failed batch_1 -o o.jsonl")
    assert shown.status == 1
    assert "no row of batch batch_1 failed" in shown.err
