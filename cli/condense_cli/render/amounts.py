"""Numbers with their units, for people."""

from __future__ import annotations


def percent(fraction: float) -> str:
    """0.7634 is "76.3 %"."""
    return f"{100 * fraction:.1f} %"


def spread(mean: float, std: float | None) -> str:
    """Mean ± standard deviation in percent; without the latter where there is none. The signs line up."""
    return f"{100 * mean:5.1f} %" if std is None else f"{100 * mean:5.1f} ± {100 * std:.1f} %"


def duration(seconds: float) -> str:
    """ "0.42 s", "12.3 s", "2 min 05 s", "3 h 07 min"."""
    if round(seconds, 1) < 60:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(count: int) -> str:
    """Bytes in powers of 1000: "100 B", "37.2 kB", "4.1 MB"."""
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if round(value, 1) < 1000:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"


def counted(count: int, noun: str) -> str:
    """ "1 epoch", "12 epochs"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def rate(per_second: float, noun: str) -> str:
    """ "35.2 steps/s", or "4.2 s/step" where it is slower than one a second."""
    if per_second >= 1:
        return f"{per_second:.0f} {noun}s/s" if per_second >= 100 else f"{per_second:.1f} {noun}s/s"
    return f"{1 / per_second:.1f} s/{noun}"
