"""benchmarks.attacks: what is counted and shown is what happened."""

import os
import re
from typing import Any

from benchmarks.attacks.__main__ import cpu_s, line, peak_mib, reset_peak
from benchmarks.attacks.attacker import statuses_of
from benchmarks.attacks.shapes import large_body, upload
from ferry.settings import Settings


def declared_bytes(head: bytes) -> int:
    found = re.search(rb"Content-Length: (\d+)", head)
    assert found
    return int(found[1])


def test_uploads_when_compared_with_the_limit_then_one_is_refused_and_one_is_read() -> None:
    limit = Settings(_env_file=None).max_body_bytes  # type: ignore[call-arg]
    pieces = [piece for piece, _ in large_body(b"")]
    assert declared_bytes(next(upload(b""))[0]) > limit
    assert sum(map(len, pieces[1:])) == declared_bytes(pieces[0]) < limit


def test_statuses_when_several_answers_come_together_then_each_is_counted() -> None:
    answers = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 503 Service Unavailable\r\n\r\n"
    assert statuses_of(b"the rest of a body" + answers) == ["200", "503"]


def test_line_when_a_probe_ends_after_the_attack_then_its_wait_is_shown() -> None:
    def seen(max_ms: float, status: str = "200") -> dict[str, Any]:
        return {"n": 1, "p50_ms": 1.0, "p99_ms": 1.0, "max_ms": max_ms, "statuses": {status: 1}}

    phase = {"health": seen(2.0), "jobs": seen(3.0), "cpu_s": 0.1, "peak_mib": 90.0}
    attackers = {"cpu_s": 0.2, "seen": {"408": 1}}
    shown = line({
        "shape": "silent", "connections": 1, "keys": "off", "before": phase, "during": phase | {"attackers": attackers},
        "settling": phase | {"health": seen(7654.0, "no answer")}, "after": phase,
    })  # fmt: skip
    assert "7654.0" in shown
    assert "no answer" in shown


def test_peak_when_memory_was_given_back_then_it_is_still_seen_until_it_is_reset() -> None:
    pid, n_bytes = os.getpid(), 100 * 2**20
    reset_peak([pid])
    before = peak_mib([pid])
    block = bytearray(os.urandom(1)) * n_bytes
    del block
    assert peak_mib([pid]) > before + 50
    reset_peak([pid])
    assert peak_mib([pid]) < before + 50


def test_cpu_when_a_process_has_gone_then_it_counts_nothing() -> None:
    assert cpu_s([2**22 + 1]) == 0
    assert cpu_s([os.getpid()]) > 0
