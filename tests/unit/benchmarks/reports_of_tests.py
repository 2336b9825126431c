"""Small reports in the shape that `python -m benchmarks` writes."""

from typing import Any

from benchmarks.reports import Source


def system(label: str, per_s: float, cpu_us: float, **fields: Any) -> dict[str, Any]:
    run = {
        "per_s": per_s, "p50_ms": 10.0, "p99_ms": 20.0, "errors": 0, "cpu_us_per_job": cpu_us, "others_cores": 0.02,
    }  # fmt: skip
    entry = {
        "label": label, "setting": f"setting of {label}", "keeps_jobs": "lost", "error": None, "faults": [],
        "versions": {}, "runs": {"1": [run], "64": [run]},
    }  # fmt: skip
    return entry | fields


def a_try(per_s: float, *, processes: int = 1, error: str | None = None) -> dict[str, Any]:
    setting = {"processes": processes, "fronts": None, "timer_ms": 5.0, "json": "orjson"}
    return {
        "setting": setting, "label": f"{processes} of them", "error": error, "per_s": per_s, "cpu_us_per_job": 100.0,
        "others_cores": 0.5,
    }  # fmt: skip


def source(**systems: dict[str, Any]) -> Source:
    taken = {
        "date": "2026-01-02T03:04:05+00:00", "commit": "abc1234", "load_before": 0.1, "load_after": 1.5, "wall_s": 9.0,
        "plan": {"repeats": 3, "seconds": 5.0, "sweep_s": 2.0},
    }  # fmt: skip
    sweep = {
        "mosec": {
            "label": "mosec", "error": None, "versions": {}, "best": a_try(1.0)["setting"],
            "tries": [a_try(50.0), a_try(90.0, processes=2), a_try(0.0, error="TimeoutError: no answer\nmore")],
        },
        "gone": {"label": "Gone", "error": "InstallFailedError: no wheel\nmore", "versions": {}, "tries": []},
    }  # fmt: skip
    machine = {"cores": 2, "cpu": "a processor", "memory_gib": 4, "system": "Linux", "load_before": 0.1}
    report = {"machine": machine, "w1": systems, "sweep": sweep, "taken": {"w1": taken, "sweep": taken}}
    return Source("2026-01-02.json", report)
