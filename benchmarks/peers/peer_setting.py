"""The settings of this run, from the environment (`Setting.env` in benchmarks/setting.py writes them).

Runs in each peer's own environment. Knows nothing of the server that reads them.
"""

import os

PROCESSES = int(os.environ["BENCH_PROCESSES"])
FRONTS = int(os.environ["BENCH_FRONTS"])
TIMER_MS = float(os.environ["BENCH_TIMER_MS"])
JSON = os.environ["BENCH_JSON"]
