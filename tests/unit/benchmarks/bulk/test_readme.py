import json
import re

from benchmarks.bulk.bars import bars
from benchmarks.figures import median
from benchmarks.places import RESULTS, ROOT


def test_readme_when_compared_with_the_last_committed_bulk_run_then_its_figures_are_those() -> None:
    report = json.loads(sorted(RESULTS.glob("????-??-??-bulk.json"))[-1].read_text())
    measured = {bar.what: bar.measured for bar in bars(report)}
    whole_per_s = median(report, "npy_mlp", "ferry", field="whole_rows_per_s")
    assert whole_per_s is not None
    right = [
        f"{600_000 / whole_per_s:.1f}",
        f"{measured['600,000 rows, NPY, mlp: rows/s beside two scripts that read their share whole']:.1f}",
        f"{measured['600,000 rows, NPY, mlp: rows/s beside two that map the file']:.2f}",
        f"{measured['60,000 rows, JSONL, mlp: rows/s beside Ray Data, map_batches']:.1f}",
    ]
    _, _, rest = (ROOT / "README.md").read_text().partition("On two cores 600,000 digits")
    assert re.findall(r"\d+\.\d+", rest.partition("\n\n")[0]) == right
    beside, alone = measured["interactive at 25 % load: p99 beside bulk / p99 alone"], 1.0
    assert beside is not None
    assert beside <= alone, "README says that single jobs were no slower beside bulk"
