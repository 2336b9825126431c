"""Where the benchmarks keep things, and the free ports they take. Imports nothing of ours."""

import os
import socket
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "benchmarks" / "peers"
RESULTS = ROOT / "benchmarks" / "results"
DOCS = ROOT / "docs"
WORK = ROOT / ".ferry" / "bench"  # environments, data and logs of the runs; never committed
MODELS = ROOT / "models"
MODEL = MODELS / "mnist" / "1" / "model.onnx"
SAMPLES = MODELS / "mnist" / "1" / "samples" / "digits.npz"
HOST = "127.0.0.1"  # all traffic stays on this machine


def free_port(n_in_a_row: int = 1) -> int:
    """Return a free port of the loopback, the first of `n_in_a_row` free ones."""
    for _ in range(100):
        with socket.socket() as first:
            first.bind((HOST, 0))
            port = first.getsockname()[1]
        try:
            for number in range(port + 1, port + n_in_a_row):
                with socket.socket() as other:
                    other.bind((HOST, number))
        except OSError:
            continue
        return port
    raise RuntimeError(f"no {n_in_a_row} free ports in a row on {HOST}")


def uv() -> str:
    """Return the uv that makes the environments (the Makefile names the one it installed)."""
    return os.environ.get("UV") or str(ROOT / ".tools" / "bin" / "uv")
