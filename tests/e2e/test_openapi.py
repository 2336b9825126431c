"""/openapi.json is true: requests made from it, right and broken ones, never meet a 500 or an undocumented answer."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Stack
from tests.processes import ROOT

# What refuses a wrong request, with the limits of HTTP itself: a list that is too long may make too long a URL.
CONFIG = Path(__file__).with_name("schemathesis.toml")
# Requests per operation and phase; enough for every field to be broken in several ways.
CASES = 40
# Bounds the generated traffic in time; the run ends by itself well before it.
MAX_TIME_S = 25
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "negative_data_rejection", "unsupported_method",
)  # fmt: skip


@pytest.mark.timeout(MAX_TIME_S + 120)
def test_openapi_when_requests_are_made_from_it_then_every_answer_is_documented(stack: Stack) -> None:
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIG),
        "run", f"{stack.api_url}/openapi.json",
        "--checks", ",".join(CHECKS), "--max-examples", str(CASES), "--max-time", str(MAX_TIME_S),
        "--generation-deterministic", "--continue-on-failure", "--no-color",
        "--suppress-health-check", "all", "--request-timeout", "30",
        # It would take away the model that all others are asked for; tests/unit/api/routes/test_repository.py has it.
        # The other never ends by itself; tests/unit/api/routes/test_stats.py has that.
        "--exclude-path-regex", "/unload$|/events$",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=MAX_TIME_S + 60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (generated, passed) = re.findall(r"(\d+) generated, (\d+) passed", done.stdout)[0]
    assert int(generated) == int(passed) > 500
