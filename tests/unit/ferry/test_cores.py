from pathlib import Path

import pytest

from ferry.cores import available_cores, cpu_quota

V1, V2 = "cgroup cgroup rw,cpu,cpuacct", "cgroup2 cgroup2 rw"


def machine(root: Path, cgroup: str, *mounts: tuple[str, str, str], **files: str) -> Path:
    """Lay out /proc and the cgroups. mounts: (root, folder, type); files: contents by path, with __ for /."""
    own = root / "proc" / "self"
    own.mkdir(parents=True)
    (own / "cgroup").write_text(cgroup)
    lines = [
        f"{30 + at} 24 0:{at} {top} {root / where} rw,nosuid - {kind}" for at, (top, where, kind) in enumerate(mounts)
    ]
    (own / "mountinfo").write_text("21 1 8:1 / / rw - ext4 /dev/sda1 rw\nodd line\n" + "\n".join(lines) + "\n")
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("cpu_", "cpu.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "proc"


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 4, 5}, raising=False)


@pytest.mark.parametrize(
    ("text", "quota", "cores"),
    [
        ("50000 100000\n", 0.5, 1),
        ("100000 100000\n", 1.0, 1),
        ("150000 100000\n", 1.5, 1),
        ("200000 100000\n", 2.0, 2),
        ("199999 100000\n", 1.99999, 2),
        ("350000 100000\n", 3.5, 3),
        ("6400000 100000\n", 64.0, 4),
        ("1000 1000000\n", 0.001, 1),
        ("max 100000\n", None, 4),
        ("", None, 4),
        ("nonsense\n", None, 4),
        ("100000 0\n", None, 4),
    ],
)
def test_available_cores_when_cgroup_2_has_a_quota_then_whole_cores_and_at_least_one(
    tmp_path: Path, text: str, quota: float | None, cores: int
) -> None:
    proc = machine(tmp_path, "0::/\n", ("/", "cg", V2), cg__cpu_max=text)
    assert (cpu_quota(proc), available_cores(proc)) == (quota, cores)


@pytest.mark.parametrize(("quota_us", "cores"), [("50000", 1), ("150000", 1), ("250000", 2), ("-1", 4)])
def test_available_cores_when_cgroup_1_has_a_quota_then_whole_cores_and_at_least_one(
    tmp_path: Path, quota_us: str, cores: int
) -> None:
    proc = machine(
        tmp_path, "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/docker/abc\n",
        ("/docker/abc", "cg/memory", "cgroup cgroup rw,memory"), ("/docker/abc", "cg/cpu", V1),
        cg__cpu__cpu_cfs_quota_us=quota_us, cg__cpu__cpu_cfs_period_us="100000",
        cg__memory__cpu_cfs_quota_us="1", cg__memory__cpu_cfs_period_us="100000",
    )  # fmt: skip
    assert available_cores(proc) == cores


def test_cpu_quota_when_a_cgroup_above_has_less_then_that_counts(tmp_path: Path) -> None:
    proc = machine(
        tmp_path, "0::/system.slice/ferry.service\n", ("/", "cg", V2),
        cg__system_slice__cpu_max="300000 100000", cg__cpu_max="max 100000",
    )  # fmt: skip
    folder = tmp_path / "cg" / "system.slice"
    (folder / "ferry.service").mkdir(parents=True)
    (folder / "ferry.service" / "cpu.max").write_text("max 100000")
    (folder / "cpu.max").write_text("200000 100000")
    assert cpu_quota(proc) == 2.0


def test_cpu_quota_when_the_host_calls_the_containers_cgroup_otherwise_then_that_of_the_mount(tmp_path: Path) -> None:
    proc = machine(
        tmp_path, "1:cpu:/kubepods/pod1/c\n", ("/other/name", "cg/cpu", "cgroup cgroup rw,cpu"),
        cg__cpu__cpu_cfs_quota_us="250000", cg__cpu__cpu_cfs_period_us="100000",
    )  # fmt: skip
    assert cpu_quota(proc) == 2.5


def test_cpu_quota_when_both_versions_are_mounted_then_the_least_counts(tmp_path: Path) -> None:
    proc = machine(
        tmp_path, "1:cpu:/\n0::/\n", ("/", "cg/cpu", "cgroup cgroup rw,cpu"), ("/", "cg/unified", V2),
        cg__cpu__cpu_cfs_quota_us="250000", cg__cpu__cpu_cfs_period_us="100000",
        cg__unified__cpu_max="150000 100000",
    )  # fmt: skip
    assert cpu_quota(proc) == 1.5


@pytest.mark.parametrize("cgroup", ["", "odd", "0::/../../etc\n"])
def test_cpu_quota_when_there_are_no_cgroups_then_none(tmp_path: Path, cgroup: str) -> None:
    assert cpu_quota(tmp_path / "proc") is None
    assert cpu_quota(machine(tmp_path, cgroup, ("/", "cg", V2))) is None
