"""The session of an inspection: loads the file into onnxruntime, and says in one line what that did not like."""

import re
from pathlib import Path

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from ferry.errors import ModelRefusedError

# What onnxruntime raises where a file or a feed does not suit it: its own classes share no base but Exception.
ORT_ERRORS: tuple[type[Exception], ...] = (
    ort_state.EngineError,
    ort_state.EPFail,
    ort_state.Fail,
    ort_state.InvalidArgument,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.NoModel,
    ort_state.NoSuchFile,
    ort_state.NotFound,
    ort_state.NotImplemented,
    ort_state.RuntimeException,
    RuntimeError,
    ValueError,
    TypeError,
)
# onnxruntime quotes whole node signatures; a note is one line.
_MAX_REASON_CHARS = 300


def load(path: Path) -> ort.InferenceSession:
    """Load a file on one CPU thread.

    Raises:
        ModelRefusedError: when onnxruntime will not have it.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    # Its errors come as exceptions; a second copy on stderr would look like a crash.
    options.log_severity_level = 4
    # Else a suffix or a marker in the file could choose onnxruntime's own format.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        # Without the fallback, which prints a banner and tries the same again.
        return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"], enable_fallback=False)
    except ORT_ERRORS as error:
        raise ModelRefusedError(_why_not_loaded(str(error))) from error


def brief(message: str) -> str:
    """Return onnxruntime's message as one line, without its own source lines and our path."""
    text = " ".join(message.split())
    for noise in (
        r"\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ",
        r"Load model from .*? failed: ?",
        r"/onnxruntime_src/\S+ [^()]*\(.*?\) (const )?",
    ):
        text = re.sub(noise, "", text)
    return text if len(text) <= _MAX_REASON_CHARS else text[: _MAX_REASON_CHARS - 3] + "..."


def _why_not_loaded(message: str) -> str:
    if found := re.search(r"Opset (\d+) is under development.*?domain (\S+) is till opset (\d+)", message, re.DOTALL):
        has, domain, limit = found.groups()
        return (
            f"it uses opset {has} of {domain}, onnxruntime {ort.__version__} takes up to {limit}; "
            f"re-export with opset_version={limit} or lower"
        )
    if found := re.search(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)", message):
        return (
            f"it has ONNX IR version {found[1]}, onnxruntime {ort.__version__} takes up to {found[2]}; "
            f"re-export with an older onnx package or set model.ir_version = {found[2]}"
        )
    if found := re.search(r"Failed to construct locale with name:\s*([^:\s]+)", message):
        return _no_locale(found[1])
    if "not a registered function/op" in message or "No Op registered for" in message:
        return f"onnxruntime does not have one of its operators ({brief(message)}); re-export with standard operators"
    if "Could not find an implementation for" in message:
        return f"onnxruntime cannot run it on a CPU ({brief(message)}); re-export with float32 tensors"
    return f"onnxruntime cannot load it: {brief(message)}; check it with onnx.checker.check_model and export it again"


def _no_locale(name: str) -> str:
    """Say what to install for a text model (StringNormalizer), or how to export it so that it needs nothing."""
    return (
        f"it needs the locale {name} to change the case of text (StringNormalizer), which this machine lacks; install "
        "it wherever workers run (Debian, Ubuntu: `apt-get install locales-all`; Fedora: "
        "`dnf install glibc-langpack-en`; Ferry's worker image has it), or export the model with the locale C "
        "(skl2onnx: options={TfidfVectorizer: {'locale': 'C'}}), which knows the case of a-z alone"
    )
