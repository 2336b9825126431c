"""How each graph of the corpus is run, and why: `python -m tests.corpus.modes` prints a table as Markdown."""

import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.corpus.models import CORPUS
from tests.corpus.served import publish


def main() -> int:
    """Inspect every graph as `ferry models add` does; print a line for each."""
    counts: Counter[tuple[str, str]] = Counter()
    sys.stdout.write("| graph | its rows | mode | reason |\n|---|---|---|---|\n")
    with tempfile.TemporaryDirectory() as folder:
        for case in CORPUS:
            served = publish(case, Path(folder))
            execution = served.manifest.execution
            mode = "batched" if served.manifest.is_batched else "whole job"
            again = "" if served.is_repeatable() else " (onnxruntime itself does not repeat its answer)"
            counts[case.label, mode] += 1
            sys.stdout.write(f"| {case.name} | {case.label} | {mode} | {execution.reason}{again} |\n")
    for (label, mode), n in sorted(counts.items()):
        sys.stdout.write(f"{label}: {n} {mode}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
