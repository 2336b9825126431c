"""What a run comes to in numbers: how jobs ended, how late, and how soon all was well again after each fault."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ferry.jobs import DEADLINE_EXCEEDED, JobRecord
from tests.chaos.faults import Fault
from tests.chaos.plan import Kind

# A keeper that is killed is followed by another within its lock's time and one round of standing for election.
KEEPER_AWAY_S = 3.0


@dataclass(frozen=True, slots=True)
class Recovery:
    """How often a kind of fault occurred, the longest until all jobs it hit had ended, and how many jobs they were."""

    n_faults: int
    longest_s: float
    n_jobs: int


def recoveries(faults: Iterable[Fault], records: Iterable[JobRecord | None]) -> dict[Kind, Recovery]:
    """Return the recovery of each kind: from the fault until every job accepted and unfinished at it was terminal."""
    spans = [(each.created_us / 1e6, each.completed_us / 1e6) for each in records if each and each.completed_us]
    found: dict[Kind, Recovery] = {}
    for fault in faults:
        ends_s = [end_s for accepted_s, end_s in spans if accepted_s < fault.began_s < end_s]
        took_s = max(ends_s, default=fault.began_s) - fault.began_s
        before = found.get(fault.kind, Recovery(0, 0.0, 0))
        found[fault.kind] = Recovery(before.n_faults + 1, max(before.longest_s, took_s), before.n_jobs + len(ends_s))
    return found


def worst_lateness_ms(records: Iterable[JobRecord | None], faults: Sequence[Fault]) -> tuple[float, float]:
    """Return by how much the latest deadline was missed: of those far from any fault, and of all."""
    calm = worst = 0.0
    for record in records:
        if record is None or record.error_code != DEADLINE_EXCEEDED or record.completed_us is None:
            continue
        late_ms = (record.completed_us - record.deadline_us) / 1000
        deadline_s = record.deadline_us / 1e6
        worst = max(worst, late_ms)
        if not any(fault.began_s - 1 < deadline_s < fault.repaired_s + KEEPER_AWAY_S for fault in faults):
            calm = max(calm, late_ms)
    return calm, worst
