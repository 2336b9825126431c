"""ferry.open_files: the limit of a process of its own, raised as far as it goes."""

import resource
import subprocess
import sys

LOWERED = "import resource; _, hard = resource.getrlimit(resource.RLIMIT_NOFILE); "
LOWERED += "resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard)); "
LOWERED += "from ferry.open_files import open_files_limit, raise_open_files_limit; "
LOWERED += "print(open_files_limit(), raise_open_files_limit(), open_files_limit())"


def test_raise_when_the_soft_limit_is_lower_then_the_hard_one_holds() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    raised = sys.maxsize if hard == resource.RLIM_INFINITY else hard
    printed = subprocess.run([sys.executable, "-c", LOWERED], check=True, capture_output=True, text=True).stdout
    assert [int(word) for word in printed.split()] == [100, raised, raised]
