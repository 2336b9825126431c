"""A model's profile drawn with characters: rows a second by rows in one run. Knows no command and no file."""

from ferry.profile import BatchLimits, Profile

BAR_COLUMNS = 40
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def draw_profile(profile: Profile, limits: BatchLimits, *, is_utf8: bool) -> list[str]:
    """Return the lines: a bar per measured size, an arrow at the size in force, and the fit under them."""
    peak = max(profile.rows_per_s)
    rows = [("rows", "run", "rows/s", "")]
    for size, us, rate in zip(profile.sizes, profile.microseconds, profile.rows_per_s, strict=True):
        bar = _bar(rate / peak, is_utf8=is_utf8)
        in_force = " <- in force" if size == limits.max_rows else ""
        rows.append((str(size), _duration(us), f"{rate:,.0f}", bar + in_force))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join([*(cell.rjust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows
    ]
    free = f", free axes at {profile.free_axis_size}" if profile.free_axis_size else ""
    return [
        *(line.rstrip() for line in lines),
        f"fit: {_duration(profile.a_us)} + {_duration(profile.b_us)} a row{free}",
        f"measured {profile.measured_at} on {profile.machine}",
    ]


def _bar(part: float, *, is_utf8: bool) -> str:
    if not is_utf8:
        return "#" * max(1, round(part * BAR_COLUMNS))
    whole, eighths = divmod(max(1, round(part * BAR_COLUMNS * 8)), 8)
    return "█" * whole + _EIGHTHS[eighths].strip()


def _duration(us: float) -> str:
    return f"{us / 1000:.3g} ms" if us >= 1000 else f"{us:.3g} us"
