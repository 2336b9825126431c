"""`python -m benchmarks.page` writes the figures of docs/benchmarks.md, its plots and README's paragraph.

All of it comes from the committed result files. Text outside the marks is kept.
"""

from pathlib import Path

from benchmarks import headline
from benchmarks.places import DOCS, ROOT
from benchmarks.reports import last_w1, last_with, sources
from benchmarks.sections import PLOTS, render

BEGIN, END = "<!-- figures: begin (written by make bench) -->", "<!-- figures: end -->"
PAGE, README = DOCS / "benchmarks.md", ROOT / "README.md"


def figures_of(page: str) -> str:
    """Return what stands between the page's marks.

    Raises:
        ValueError: a mark is missing.
    """
    _, begin, rest = page.partition(BEGIN)
    figures, end, _ = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"docs/benchmarks.md has lost its marks {BEGIN!r} and {END!r}")
    return figures.strip() + "\n"


def write() -> list[Path]:
    """Write page, plots and README's paragraph; returns the two documents."""
    from benchmarks.plots import draw  # noqa: PLC0415 - the tests read this module without matplotlib

    found = sources()
    text = PAGE.read_text()
    figures_of(text)
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{render(found)}\n{END}{after}")
    for step in ("w1", "w2", "w5"):
        if source := last_w1(found) if step == "w1" else last_with(found, step):
            draw({step: source.report[step]}, DOCS / PLOTS)
    README.write_text(headline.replaced(README.read_text(), headline.paragraph(found)))
    return [PAGE, README]


if __name__ == "__main__":
    print(*write())
