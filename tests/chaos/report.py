"""The one table that a run ends with, and its violations."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ferry.jobs import JobRecord
from tests.chaos.checks import end_of
from tests.chaos.figures import Recovery
from tests.chaos.load import Job
from tests.chaos.plan import Kind

MOST_SHOWN = 30


@dataclass(frozen=True)
class Report:
    """All there is to say of a run. `found`: violations by what they are about."""

    seed: int
    wall_s: float
    jobs: Sequence[Job]
    records: Mapping[str, JobRecord | None]
    said: Mapping[str, int]
    recoveries: Mapping[Kind, Recovery]
    lateness_ms: tuple[float, float]
    longest_without_ticket_s: float
    found: Counter[str]
    violations: Sequence[str]
    folder: Path

    @property
    def is_good(self) -> bool:
        """Whether nothing was violated."""
        return not self.violations

    def rows(self) -> list[tuple[str, str]]:
        """Return the table's rows."""
        records = [record for record in self.records.values() if record]
        ends = Counter(end_of(record) for record in records if record.state.is_terminal)
        accepted = sum(1 for job in self.jobs if job.id)
        return [
            ("submitted", f"{len(self.jobs):,}"),
            ("accepted", f"{accepted:,}"),
            *((end.replace("/", ": "), f"{n:,}") for end, n in sorted(ends.items(), reverse=True)),
            ("refused (503 to the end)", f"{len(self.jobs) - accepted:,}"),
            *((about, f"{self.found[about]:,}") for about in ("lost", "wrong", "duplicated results")),
            ("other violations", f"{self.found['other']:,}"),
            ("duplicated executions", f"{sum(max(0, record.attempts - 1) for record in records):,}"),
            *((f"sent again after {said}", f"{n:,}") for said, n in sorted(self.said.items())),
            *(
                (
                    kind.value,
                    f"{each.n_faults} x, {each.n_jobs:,} jobs hit, recovery {each.longest_s:.1f} s",
                )
                for kind, each in self.recoveries.items()
            ),
            ("deadline missed by, at most", "{:.0f} ms, near faults {:.0f} ms".format(*self.lateness_ms)),
            ("a worker without a ticket for", f"{self.longest_without_ticket_s:.1f} s at most"),
            ("wall time", f"{self.wall_s:.0f} s"),
            ("seed", str(self.seed)),
        ]

    def print_to(self, console: Console) -> None:
        """Print the table, and what was violated."""
        table = Table(show_header=False, title="chaos")
        table.add_column()
        table.add_column(justify="right")
        for name, value in self.rows():
            table.add_row(name, value)
        console.print(table)
        for violation in self.violations[:MOST_SHOWN]:
            console.print(violation, markup=False, highlight=False, soft_wrap=True)
        if len(self.violations) > MOST_SHOWN:
            console.print(f"... and {len(self.violations) - MOST_SHOWN} more")
        if self.violations:
            console.print(f"logs: {self.folder}", markup=False, soft_wrap=True)
