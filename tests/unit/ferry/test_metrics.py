from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ferry import metrics
from ferry.metrics import Counts, Kind, Name, one, render

SIZES = Name("ferry_sizes", Kind.HISTOGRAM, "Sizes.", ("model",), (1.0, 10.0))
OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_render_when_read_back_then_every_kind_has_its_values() -> None:
    sizes = Counts(SIZES.buckets)
    for value in (0.5, 1.0, 2.0, 11.0):
        sizes.add(value)
    told = samples(
        render(
            [
                (metrics.JOBS_SUBMITTED, {("mnist", "1"): 7.0}),
                (metrics.DEAD_LETTERS, one(2)),
                (SIZES, {("mnist",): sizes}),
            ]
        )
    )
    assert told["ferry_jobs_submitted_total", (("model", "mnist"), ("version", "1"))] == 7
    assert told["ferry_dead_letters", ()] == 2
    assert [told["ferry_sizes_bucket", (("le", le), ("model", "mnist"))] for le in ("1.0", "10.0", "+Inf")] == [2, 3, 4]
    assert told["ferry_sizes_count", (("model", "mnist"),)] == 4
    assert told["ferry_sizes_sum", (("model", "mnist"),)] == 14.5


def test_render_when_a_label_has_quotes_then_escaped() -> None:
    told = samples(render([(metrics.WORKER_UP, one(1, 'a"b\\c'))]))
    assert told["ferry_worker_up", (("worker", 'a"b\\c'),)] == 1


@pytest.mark.parametrize(
    "name", {*metrics.FROM_API, *metrics.FROM_STACK, *metrics.FROM_WORKER}, ids=lambda name: name.name
)
def test_names_when_held_to_the_rules_of_prometheus_then_they_fit(name: Name) -> None:
    assert name.name.startswith("ferry_")
    assert name.name.endswith("_total") is (name.kind is Kind.COUNTER)
    assert bool(name.buckets) is (name.kind is Kind.HISTOGRAM)
    assert list(name.buckets) == sorted(set(name.buckets))
    assert name.help.endswith(".") or name is metrics.REDIS_MEMORY_MAX or name is metrics.BUILD


def test_names_when_all_are_taken_then_each_stands_in_the_operations_page() -> None:
    page = OPERATIONS.read_text("utf-8")
    missing = sorted(
        {name.name for name in (*metrics.FROM_API, *metrics.FROM_STACK, *metrics.FROM_WORKER)} - set(page.split("`"))
    )
    assert missing == []
