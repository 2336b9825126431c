import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import kombu
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ferry import inspection as asking
from ferry.errors import ConfigError, InvalidInputError, ModelRefusedError, NoWorkerError, QueueUnavailableError
from ferry.manifest import OIP_DATATYPES, Manifest
from ferry.settings import Settings
from tests import onnx_models
from worker.inspection import answer, inspect, main


@pytest.fixture
def look(tmp_path: Path):
    """Save a model (or raw bytes) and inspect it."""

    def look(content: onnx.ModelProto | bytes, labels: tuple[str, ...] = ()) -> Manifest:
        path = tmp_path / "model.onnx"
        path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
        return inspect(path, "m", "1", labels)

    return look


def signature(manifest: Manifest) -> list[tuple[str, str, tuple[int | None, ...]]]:
    return [(spec.name, spec.dtype, spec.shape) for spec in (*manifest.inputs, *manifest.outputs)]


def rows_a_run(manifest: Manifest) -> tuple[int, int | None]:
    return manifest.batching.max_rows, manifest.batching.fixed_rows


# --- what is served


def test_inspect_when_inputs_and_outputs_are_several_then_each_is_described(look) -> None:
    manifest = look(onnx_models.two_inputs_two_outputs())
    assert signature(manifest) == [
        ("a", "float32", (None, 2)),
        ("b", "float32", (None, 2)),
        ("k", "int64", (None, 3)),
        ("total", "float32", (None, 2)),
        ("rank", "int64", (None, 3)),
    ]
    assert rows_a_run(manifest) == (64, None)
    assert manifest.notes == ()
    assert manifest.versions["opset ai.onnx"] == str(onnx_models.OPSET)


@pytest.mark.parametrize("dtype", OIP_DATATYPES)
def test_inspect_when_the_dtype_is_in_the_protocol_then_it_is_kept_on_both_sides(look, dtype: str) -> None:
    manifest = look(onnx_models.identity(dtype))
    assert signature(manifest) == [("x", dtype, (None, 2)), ("y", dtype, (None, 2))]
    assert manifest.notes == ()


def test_inspect_when_text_goes_in_then_strings_and_numbers_come_out(look) -> None:
    manifest = look(onnx_models.string_input())
    assert signature(manifest)[1:] == [("label", "int64", (None, 1)), ("echo", "string", (None, 1))]


@pytest.mark.parametrize(("n_rows", "words"), [(1, "one at a time"), (4, "every run has 4 rows")])
def test_inspect_when_the_batch_axis_is_fixed_then_the_batching_and_a_note_say_so(
    look, n_rows: int, words: str
) -> None:
    manifest = look(onnx_models.fixed_batch(n_rows))
    assert rows_a_run(manifest) == (n_rows, n_rows)
    assert signature(manifest) == [("x", "float32", (None, 3)), ("y", "float32", (None, 3))]
    (note,) = manifest.notes
    assert words in note
    assert "re-export with a free batch axis" in note


def test_inspect_when_inner_axes_are_free_then_they_stay_so(look) -> None:
    manifest = look(onnx_models.dynamic_inner_axis())
    assert [spec.shape for spec in (*manifest.inputs, *manifest.outputs)] == [(None, None), (None, None), (None, 1)]


def test_inspect_when_two_inputs_share_a_free_axis_then_they_are_tried_at_one_size(look) -> None:
    assert look(onnx_models.two_inputs_of_one_width()).notes == ()


def test_inspect_when_every_free_axis_has_one_symbol_then_the_batch_axis_is_told_apart(look) -> None:
    manifest = look(onnx_models.doubled(("?", "?")))
    assert rows_a_run(manifest) == (64, None)
    assert manifest.notes == ()


def test_inspect_when_the_model_needs_wide_rows_then_wider_ones_are_tried(look) -> None:
    (note,) = look(onnx_models.wide_kernel()).notes
    assert note.startswith("free axes ran at size 32; at size 4 the model raised")


def test_inspect_when_an_initializer_stands_among_the_inputs_then_it_is_none(look) -> None:
    assert [spec.name for spec in look(onnx_models.initializer_among_inputs()).inputs] == ["x"]


def test_inspect_when_an_output_size_is_not_declared_then_the_runs_show_it(look) -> None:
    assert look(onnx_models.undeclared_output()).outputs[0].shape == (None, 6)


def test_inspect_when_made_up_values_raise_then_it_is_served_with_a_note(look) -> None:
    manifest = look(onnx_models.raises_on_big_index(100))
    assert signature(manifest) == [("index", "int64", (None,)), ("y", "float32", (None, 2))]
    (note,) = manifest.notes
    assert note.startswith("could not be tried with made-up rows: ")
    assert "out of data bounds" in note
    assert look(onnx_models.raises_on_big_index()).notes == ()


def test_inspect_when_a_row_is_too_large_to_make_up_then_it_is_not_tried(look) -> None:
    manifest = look(onnx_models.doubled(("N", 2**30)))
    assert "could not be tried" in manifest.notes[0]
    assert manifest.outputs[0].shape == (None, 2**30)


def test_inspect_when_only_single_rows_run_then_rows_run_one_at_a_time(look) -> None:
    manifest = look(onnx_models.built_in_batch_of_one())
    assert rows_a_run(manifest) == (1, 1)
    assert "two in one run raised" in manifest.notes[0]


@pytest.mark.parametrize("proto", [onnx_models.mixes_rows(), onnx_models.mixes_rows(1)])
def test_inspect_when_rows_change_their_neighbours_then_rows_run_one_at_a_time(look, proto: onnx.ModelProto) -> None:
    assert rows_a_run(look(proto)) == (1, 1)


def test_inspect_when_the_model_draws_random_numbers_then_it_keeps_its_batches(look) -> None:
    manifest = look(onnx_models.draws_random_numbers())
    assert rows_a_run(manifest) == (64, None)
    assert "random" in manifest.notes[0]


def test_inspect_when_the_file_is_the_same_then_so_is_the_manifest(look) -> None:
    assert look(onnx_models.classes(5)) == look(onnx_models.classes(5))


# --- labels and names


def test_inspect_when_labels_fit_then_they_are_recorded(look) -> None:
    assert look(onnx_models.classes(2), ("no", "yes")).labels == ("no", "yes")


def test_inspect_when_labels_do_not_fit_then_both_numbers_are_named(look) -> None:
    with pytest.raises(InvalidInputError, match="2 labels, but the last axis of output 'scores' has 3"):
        look(onnx_models.classes(3), ("no", "yes"))


@pytest.mark.parametrize(("name", "version"), [("../m", "1"), ("m", "v1")])
def test_inspect_when_the_name_is_impossible_then_it_is_invalid_input(tmp_path: Path, name: str, version: str) -> None:
    path = onnx_models.save(onnx_models.doubled(), tmp_path / "model.onnx")
    with pytest.raises(InvalidInputError):
        inspect(path, name, version)


# --- what is refused


def renamed(old: str, new: str) -> onnx.ModelProto:
    """Rename an input or output of the model with two of each."""
    proto = onnx_models.two_inputs_two_outputs()
    for value in (*proto.graph.input, *proto.graph.output):
        if value.name == old:
            value.name = new
    for node in proto.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    return proto


REFUSED = {
    "empty": (b"", "empty; export"),
    "text": (b"this is no model at all", "damaged or is no ONNX model"),
    "damaged": (onnx_models.corrupted(), "export or download it again"),
    "other protobuf": (b"\x08\x08", "holds no graph"),
    "external initializer": (onnx_models.external_weights(), "'w' lie in another file .external data.; re-export"),
    "external attribute": (onnx_models.external_weights("attribute"), "external data"),
    "external in a subgraph": (onnx_models.external_weights("subgraph"), "external data"),
    "custom operator": (onnx_models.custom_operator(), "acme.ops:Fancy is a custom one.*standard"),
    "unknown operator": (onnx_models.unknown_operator(), "does not have one of its operators.*Fancy"),
    "future opset": (onnx_models.future_opset(), r"opset 999 .* takes up to \d+; re-export with opset_version=\d+"),
    "future format": (onnx_models.future_ir_version(), r"IR version 999, .* takes up to \d+; re-export"),
    "bfloat16": (onnx_models.raw_identity(TensorProto.BFLOAT16), "'x' is of type bfloat16; served are .*: cast"),
    "float8": (onnx_models.raw_identity(TensorProto.FLOAT8E4M3FN), "float8e4m3fn"),
    "complex": (onnx_models.raw_identity(TensorProto.COMPLEX64), "complex64"),
    "maps": (onnx_models.list_of_maps(), "seq.map.*'zipmap': False"),
    "scalar input": (onnx_models.scalar_input(), "'factor' is a scalar, so it has no batch axis; re-export"),
    "unknown rank": (onnx_models.doubled(None), "declares no shape"),
    "no batch axis in the output": (onnx_models.no_batch_output(), r"'y' has no batch axis: for 1 row .*\(3,\)"),
    "different batches": (onnx_models.different_fixed_batches(), "'a' at 2, 'b' at 4"),
    "huge batch": (onnx_models.fixed_batch(100_000), "fixed at 100000, possible are 1 to 65536"),
    "rows mixed in a fixed batch": (onnx_models.mixes_rows(4), "fixed at 4, so none can run alone"),
    "two inputs of a name": (renamed("b", "a"), "two inputs are named 'a'; re-export"),
    "two outputs of a name": (renamed("rank", "total"), "two outputs are named 'total'"),
    "nameless output": (renamed("rank", ""), "an output has no name"),
    "unprintable name": (renamed("b", "b\x07"), "not printable"),
    "name that is too long": (renamed("b", "b" * 257), "longer than 256 characters"),
    "no inputs": (
        onnx_models.model(
            [helper.make_node("Constant", [], ["y"], value=onnx_models.constant("", np.ones(3, np.float32)))],
            [],
            [onnx_models.value("y", shape=(3,))],
        ),
        "no inputs",
    ),
    "text that is no UTF-8": (
        onnx_models.doubled(("batch", "width")).SerializeToString().replace(b"width", b"\xff\xfe\xfd\xfc\xfb"),
        "damaged|cannot load",
    ),
}


@pytest.mark.parametrize(("content", "words"), REFUSED.values(), ids=REFUSED)
def test_inspect_when_a_file_cannot_be_served_then_it_says_why(
    look, content: onnx.ModelProto | bytes, words: str
) -> None:
    with pytest.raises(ModelRefusedError, match=words) as refusal:
        look(content)
    assert "\n" not in refusal.value.detail
    assert "onnxruntime_src" not in refusal.value.detail


def test_inspect_when_the_file_is_above_the_limit_then_its_size_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.touch()
    os.truncate(path, 3 * 2**30)  # a hole: takes no space
    with pytest.raises(ModelRefusedError, match=r"3\.0 GiB, the limit is 2 GiB; quantize"):
        inspect(path, "m", "1")


def test_inspect_when_there_is_no_file_then_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelRefusedError, match="there is no file"):
        inspect(tmp_path / "model.onnx", "m", "1")


# --- in a process of its own


def test_run_inspection_when_the_file_is_good_then_the_manifest_comes_back(tmp_path: Path) -> None:
    path = onnx_models.save(onnx_models.classes(2), tmp_path / "-odd name.onnx")
    reply = asking.run_inspection(path, name="m", version="3", labels=("nein", "größer"))
    manifest = asking.manifest_from(json.loads(json.dumps(reply)))
    assert (manifest.ref, manifest.labels) == ("m:3", ("nein", "größer"))


def test_run_inspection_when_the_file_is_refused_then_the_reason_comes_back(tmp_path: Path) -> None:
    path = onnx_models.save(onnx_models.future_opset(), tmp_path / "model.onnx")
    reply = asking.run_inspection(path, name="m", version="1")
    assert reply["error"]["code"] == "model_refused"
    with pytest.raises(ModelRefusedError, match="opset 999"):
        asking.manifest_from(reply)


def test_main_when_labels_are_in_a_file_then_they_are_read(tmp_path: Path) -> None:
    path = onnx_models.save(onnx_models.classes(2), tmp_path / "model.onnx")
    (tmp_path / "labels.txt").write_text("no\nyes\n")
    command = [sys.executable, "-m", "worker.inspection", path, "--name=m", "--version=1"]
    done = subprocess.run([*command, "--labels", tmp_path / "labels.txt"], capture_output=True, check=True)
    assert json.loads(done.stdout)["manifest"]["labels"] == ["no", "yes"]


def test_main_when_a_file_cannot_be_read_then_it_is_a_reply(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = onnx_models.save(onnx_models.classes(2), tmp_path / "model.onnx")
    for labels, words in ((tmp_path / "none.txt", "No such file"), (path, "not UTF-8")):
        main([str(path), "--name=m", "--version=1", f"--labels={labels}"])
        assert words in json.loads(capsys.readouterr().out)["error"]["detail"]


@pytest.mark.parametrize(
    ("ending", "limit_s", "words"),
    [
        ("kill -SEGV $$", 60, r"crashed the ONNX parser \(Segmentation fault\).*export the model again"),
        ("kill -KILL $$", 60, "killed, most likely for want of memory"),
        ("echo oh no >&2; exit 3", 60, "broke with exit code 3: oh no"),
        # A pipe that nobody writes to holds its reader for ever.
        ("mkfifo $0.pipe && exec 3<>$0.pipe && read forever <&3", 0.1, "longer than 0.1 s"),
    ],
)
def test_run_inspection_when_the_process_ends_badly_then_it_is_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, limit_s: float, words: str
) -> None:
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\n{ending}\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    reply = asking.run_inspection(tmp_path / "model.onnx", name="m", version="1", limit_s=limit_s)
    with pytest.raises(ModelRefusedError, match=words):
        asking.manifest_from(reply)


# --- by a worker


class FakeRedis:
    """The list commands of an inspection's question and answer; `script` is what the worker pushes, step by step."""

    def __init__(self, script: list[object] | None = None) -> None:
        self.script = [None if step is None else (b"key", json.dumps(step).encode()) for step in script or []]
        self.lists: dict[str, list[object]] = {}
        self.expiries: dict[str, int] = {}
        self.steps = 0

    def ping(self) -> bool:
        return True

    def blpop(self, keys: list[str], timeout: float) -> object:
        self.steps += 1
        assert 0 < timeout < 1
        return self.script.pop(0) if self.script else None

    def pipeline(self, *, transaction: bool) -> "FakeRedis":
        return self

    def __enter__(self) -> "FakeRedis":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def rpush(self, key: str, item: str) -> None:
        self.lists.setdefault(key, []).append(json.loads(item))

    def expire(self, key: str, seconds: int) -> None:
        self.expiries[key] = seconds

    def execute(self) -> None:
        pass


class DeadRedis(FakeRedis):
    def ping(self) -> bool:
        raise ConnectionRefusedError("connection refused")


QUESTION: list[object] = [".incoming-1/model.onnx", "m", "1", []]


def test_ask_worker_when_one_answers_then_its_reply_is_returned() -> None:
    sent: list[list[object]] = []
    reply = {"error": {"code": "model_refused", "detail": "no"}}
    redis = FakeRedis([None, None, asking.STARTED, None, reply])
    assert asking.ask_worker(QUESTION, redis=redis, send=sent.append) == reply
    ((*question, reply_key),) = sent
    assert question == QUESTION
    assert str(reply_key).startswith(asking.REPLY_PREFIX)


def test_ask_worker_when_nobody_takes_it_then_the_wait_is_bounded() -> None:
    redis = FakeRedis()
    with pytest.raises(NoWorkerError, match=r"no worker answered within 30 s.*ferry up"):
        asking.ask_worker(QUESTION, redis=redis, send=lambda args: None)
    assert redis.steps == asking.PICKUP_LIMIT_S / asking.STEP_S


def test_ask_worker_when_the_worker_falls_silent_then_the_wait_is_bounded() -> None:
    redis = FakeRedis([asking.STARTED])
    with pytest.raises(NoWorkerError, match="fell silent"):
        asking.ask_worker(QUESTION, redis=redis, send=lambda args: None)
    assert redis.steps <= (asking.INSPECTION_LIMIT_S + 1) / asking.STEP_S + 1


def test_ask_worker_when_redis_is_dead_then_nothing_is_sent() -> None:
    sent: list[list[object]] = []
    with pytest.raises(QueueUnavailableError):
        asking.ask_worker(QUESTION, redis=DeadRedis(), send=sent.append)
    assert sent == []


def test_sender_when_a_question_is_sent_then_it_is_a_task_on_the_control_queue() -> None:
    asking._sender("memory://")([*QUESTION, "ferry:reply:1"])
    with kombu.Connection("memory://") as connection:
        message = connection.default_channel._get(asking.CONTROL_QUEUE)
    assert message["headers"]["task"] == asking.INSPECT_TASK
    args, _, _ = json.loads(base64.b64decode(message["body"]))
    assert args == [*QUESTION, "ferry:reply:1"]


def test_answer_when_the_file_is_staged_then_the_reply_is_pushed_and_expires(tmp_path: Path) -> None:
    (tmp_path / ".incoming-1").mkdir()
    onnx_models.save(onnx_models.doubled(), tmp_path / ".incoming-1" / "model.onnx")
    redis, key = FakeRedis(), asking.REPLY_PREFIX + "1"
    answer(".incoming-1/model.onnx", "m", "1", [], key, models_dir=tmp_path, redis=redis)
    started, reply = redis.lists[key]
    assert started == asking.STARTED
    assert asking.manifest_from(reply).ref == "m:1"
    assert redis.expiries == {key: 60}


@pytest.mark.parametrize("staged", ["../secret.onnx", "/etc/passwd", ".incoming-1/../../secret.onnx", "link.onnx"])
def test_answer_when_the_path_leaves_the_repository_then_the_file_is_not_opened(tmp_path: Path, staged: str) -> None:
    root = tmp_path / "models"
    root.mkdir()
    onnx_models.save(onnx_models.doubled(), tmp_path / "secret.onnx")
    (root / "link.onnx").symlink_to(tmp_path / "secret.onnx")
    redis, key = FakeRedis(), asking.REPLY_PREFIX + "1"
    answer(staged, "m", "1", [], key, models_dir=root, redis=redis)
    assert redis.lists[key][-1]["error"]["code"] == "invalid_input"


def test_answer_when_the_reply_key_is_another_key_then_nothing_is_written(tmp_path: Path) -> None:
    redis = FakeRedis()
    with pytest.raises(InvalidInputError, match="reply key"):
        answer("model.onnx", "m", "1", [], "ferry:jobs", models_dir=tmp_path, redis=redis)
    assert redis.lists == {}


# --- where to ask


def settings_of(tmp_path: Path, **values: object) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path / "data", models_dir=tmp_path / "models", **values)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[object]]]:
    """Pretend that onnxruntime is not installed and record (URL, question) instead of sending."""
    calls: list[tuple[str, list[object]]] = []
    urls: list[str] = []

    def connect(url: str) -> FakeRedis:
        urls.append(url)
        return FakeRedis()

    def ask_worker(question: list[object], *, redis: object, send: object) -> asking.Reply:
        calls.append((urls[-1], question))
        return {"error": {"code": "model_refused", "detail": "asked"}}

    monkeypatch.setattr(asking, "can_inspect_here", lambda: False)
    monkeypatch.setattr(asking, "connect", connect)
    monkeypatch.setattr(asking, "ask_worker", ask_worker)
    return calls


def test_inspect_model_when_onnxruntime_is_here_then_no_worker_is_needed(tmp_path: Path) -> None:
    path = onnx_models.save(onnx_models.doubled(), tmp_path / "model.onnx")
    assert asking.inspect_model(path, name="m", version="1", settings=settings_of(tmp_path)).ref == "m:1"


def test_inspect_model_when_the_file_is_staged_then_its_place_is_sent(tmp_path: Path, asked) -> None:
    settings = settings_of(tmp_path, redis_url="redis://example/7")
    staged = settings.models_dir / ".incoming-1" / "model.onnx"
    staged.parent.mkdir(parents=True)
    staged.write_bytes(b"model")
    with pytest.raises(ModelRefusedError, match="asked"):
        asking.inspect_model(staged, name="m", version="1", labels=("a",), settings=settings)
    assert asked == [("redis://example/7", [".incoming-1/model.onnx", "m", "1", ["a"]])]


def test_inspect_model_when_the_file_lies_elsewhere_then_a_copy_is_staged_and_deleted(tmp_path: Path, asked) -> None:
    settings = settings_of(tmp_path, redis_url="redis://example/7")
    path = tmp_path / "model.onnx"
    path.write_bytes(b"model")
    with pytest.raises(ModelRefusedError, match="asked"):
        asking.inspect_model(path, name="m", version="1", settings=settings)
    ((_, (staged, *_)),) = asked
    assert staged.startswith(".incoming-")
    assert list(settings.models_dir.iterdir()) == []


def test_inspect_model_when_redis_is_embedded_then_the_running_stack_is_asked(tmp_path: Path, asked) -> None:
    settings = settings_of(tmp_path, redis_url="")
    path = tmp_path / "model.onnx"
    path.write_bytes(b"model")
    with pytest.raises(ConfigError, match=r"run\.json.*ferry up"):
        asking.inspect_model(path, name="m", version="1", settings=settings)
    settings.data_dir.mkdir()
    (settings.data_dir / asking.RUN_FILE).write_text('{"redis_url": "redis://127.0.0.1:7777/0"}')
    with pytest.raises(ModelRefusedError, match="asked"):
        asking.inspect_model(path, name="m", version="1", settings=settings)
    assert asked[0][0] == "redis://127.0.0.1:7777/0"
