"""compare.png, and the same plots as SVG for the page. The same comparison gives the same bytes."""

from __future__ import annotations

import io
import itertools
import math
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from condense.comparison.outcome import Outcome
from condense.comparison.report.palette import light, look
from condense.comparison.report.panels import Panel, Series, panels
from condense.comparison.report.svg import inline_svg, symbol
from condense.comparison.summary import Summary
from condense.engine.intervals import Interval
from condense.text import escaped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _HEIGHT = 4.3, 3.3  # of one plot, in inches
_PER_LINE = 0.16  # inches for a line of a row's label, with rows below each other
_BETWEEN = 0.14  # inches between such rows
_CROWDED = 0.12  # inches added for each row beyond the eighth
_PAD = 0.08  # inches around plots
_SIDE_BY_SIDE = 3
_LEGEND = 2.2  # width in inches
_DPI = 160
_LABEL = 26  # maximum letters of a row's label on one line
_TICKS = 6
_MINIMUM_SPAN = 2.0  # of the accuracy axis, in percent points
_DODGE = 0.045  # distance of neighbouring rows as a fraction of the axis, so that no interval hides another
_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.parse_math": False,  # draws a dollar sign in a label as it is
    "svg.fonttype": "none",
    "figure.facecolor": light("panel"),
    "axes.facecolor": "none",
    "text.color": light("ink"),
    "axes.labelcolor": light("faint"),
    "axes.edgecolor": light("faint"),
    "xtick.color": light("faint"),
    "ytick.color": light("faint"),
    "xtick.labelcolor": light("ink"),
    "ytick.labelcolor": light("ink"),
    "grid.color": light("line"),
    "legend.frameon": False,
}


def draw_png(outcome: Outcome, summary: Summary) -> bytes:
    """Return all plots as one PNG picture, with a legend, on white."""
    shown = panels(outcome, summary)
    with _style("compare.png"):
        figure = _together(shown)
        return _saved(figure, "png", dpi=_DPI, metadata={"Software": None})


def draw_svgs(outcome: Outcome, summary: Summary) -> list[tuple[Panel, str]]:
    """Return each plot with an <svg> element for a page. Its colours are the CSS variables of `palette`."""
    shown = panels(outcome, summary)
    found = []
    for number, panel in enumerate(shown):
        name = f"chart-{number}"
        with _style(name):
            figure = _figure(_WIDTH, _height(panel))
            _draw(figure.add_subplot(), panel, _limits(shown))
            raw = _saved(figure, "svg", transparent=True, metadata=_NO_METADATA)
        found.append((panel, inline_svg(raw.decode(), name, panel.title, panel.description)))
    return found


def draw_keys(outcome: Outcome) -> list[str]:
    """Return each row's line and marker for legends, as <symbol> elements with the ids "key-0", "key-1", ..."""
    from matplotlib.figure import Figure

    keys = []
    for number, row in enumerate(outcome.rows):
        style = look(number, reference=row.label in outcome.references)
        name = f"key-{number}"
        with _style(name):
            figure = Figure(figsize=(0.42, 0.2))
            axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
            axes.set_axis_off()
            axes.set(xlim=(-1, 1), ylim=(-1, 1))
            axes.plot([-0.95, 0.95], [0, 0], **_line(style.colour, style.dashes))
            axes.plot([0], [0], **_marker(style.colour, style.marker))
            raw = _saved(figure, "svg", transparent=True, metadata=_NO_METADATA)
        keys.append(symbol(raw.decode(), name))
    return keys


_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


@contextmanager
def _style(salt: str) -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()  # the user's matplotlibrc would change the bytes
        style: Any = {**_STYLE, "svg.hashsalt": salt}
        matplotlib.rcParams.update(style)
        yield


def _saved(figure: Figure, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, **options)
    return buffer.getvalue()


def _figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches, whose layout makes room for labels and legends."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=_PAD, h_pad=_PAD))


def _together(shown: Sequence[Panel]) -> Figure:
    if not shown:
        figure = _figure(_WIDTH, 1)
        figure.text(0.5, 0.5, "no results yet", ha="center", va="center")
        return figure
    lines = [panel for panel in shown if panel.axis != "rows"]
    rows = _arranged(shown)
    across = max(map(len, rows))
    height = max(sum(max(map(_height, row)) for row in rows), 0.19 * _entries(lines) + 0.3)
    figure = _figure(_WIDTH * across + (_LEGEND if lines else 0.0), height)
    for down, row in enumerate(rows):
        for position, panel in enumerate(row):
            place = down * across + position + 1
            _draw(figure.add_subplot(len(rows), across, place), panel, _limits(shown))
    if lines:
        _legend(figure)
    return figure


def _arranged(shown: Sequence[Panel]) -> list[Sequence[Panel]]:
    """Return the plots in rows; plots of different axes are in different rows."""
    rows: list[Sequence[Panel]] = []
    for _, group in itertools.groupby(shown, key=lambda panel: panel.axis):
        members = list(group)
        across = -(-len(members) // -(-len(members) // _SIDE_BY_SIDE))  # four plots make two rows of two
        rows += [members[start : start + across] for start in range(0, len(members), across)]
    return rows


def _legend(figure: Figure) -> None:
    """Add a legend at the right that names each row once."""
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(list(handles.values()), list(handles), loc="outside right upper", fontsize=8)


def _entries(lines: Sequence[Panel]) -> int:
    labels = {_wrapped(series.row) for panel in lines for series in panel.series}
    return sum(label.count("\n") + 1 for label in labels) + 1


def _height(panel: Panel) -> float:
    """Return the height of a plot in inches."""
    if panel.axis != "rows":
        return _HEIGHT + _CROWDED * max(0, len(panel.series) - 8)
    lines = sum(_wrapped(series.row).count("\n") + 1 for series in panel.series)
    return max(1.6, 1.0 + _PER_LINE * lines + _BETWEEN * len(panel.series))


def _limits(shown: Sequence[Panel]) -> Interval:
    """Return the range of accuracies in percent for all plots. A ceiling far above the rows stays outside."""
    points = [point for panel in shown for series in panel.series for point in series.points]
    ends = [100 * end for point in points for end in (point.interval or (point.mean, point.mean))]
    ends += [100 * point.mean for point in points]
    low, high = max(0.0, min(ends)), min(100.0, max(ends))
    if high - low < _MINIMUM_SPAN:
        low, high = (low + high - _MINIMUM_SPAN) / 2, (low + high + _MINIMUM_SPAN) / 2
    span = high - low
    ceiling = next((panel.ceiling for panel in shown if panel.ceiling is not None), None)
    if ceiling is not None and high < 100 * ceiling <= high + 1.5 * span:
        high = 100 * ceiling
    pad = 0.06 * (high - low)
    return low - pad, high + pad


def _draw(axes: Axes, panel: Panel, limits: Interval) -> None:
    axes.set_title("\n".join(textwrap.wrap(panel.title, 46)))
    if panel.axis == "rows":
        _draw_rows(axes, panel, limits)
    else:
        _draw_lines(axes, panel, limits)
    if panel.ceiling is None:
        return
    ceiling = 100 * panel.ceiling
    outside = ceiling > limits[1]
    text = f"teacher {ceiling:.1f}"
    if panel.axis == "rows":
        if not outside:
            axes.axvline(ceiling, color=light("ceiling"), linewidth=1, linestyle=(0, (4, 2)))
        axes.set_xlabel(f"Accuracy, %  ({text}{', outside' if outside else ', dashed'})")
        return
    if not outside:
        axes.axhline(ceiling, color=light("ceiling"), linewidth=1, linestyle=(0, (4, 2)))
    style = {"color": light("ceiling"), "fontsize": 8, "xycoords": ("axes fraction", "data")}
    place = (0.0, min(ceiling, limits[1]))
    offset = {"xytext": (2, -3), "textcoords": "offset points", "va": "top"}
    axes.annotate(f"{text} ↑" if outside else text, place, **style, **offset)  # type: ignore[arg-type]


def _draw_lines(axes: Axes, panel: Panel, limits: Interval) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    places = sorted({point.x for series in panel.series for point in series.points})
    axes.set_xscale("log")
    first, last = math.log(places[0]), math.log(places[-1])
    margin = 0.12 * (last - first) or 0.5
    axes.set(xlim=(math.exp(first - margin), math.exp(last + margin)), ylim=limits)
    middle = (len(panel.series) - 1) / 2
    gap = min(_DODGE, 0.12 / max(1, len(panel.series) - 1)) * (last - first + 2 * margin)
    if panel.axis == "steps":
        gap /= 2
    for position, series in enumerate(panel.series):
        _errorbar(axes, series, shift=math.exp(gap * (position - middle)))
    ticks = places if len(places) <= _TICKS else places[:: -(-len(places) // _TICKS)]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    axes.set_xlabel("Images per class" if panel.axis == "ipc" else "Steps of a student's training")
    axes.set_ylabel("Accuracy, %")
    axes.grid(axis="y")


def _errorbar(axes: Axes, series: Series, shift: float) -> None:
    style = look(series.number, reference=series.reference)
    across = [point.x * shift for point in series.points]
    means = [100 * point.mean for point in series.points]
    axes.plot(across, means, zorder=2, **_line(style.colour, style.dashes))
    for x, point in zip(across, series.points, strict=True):
        if point.interval:
            low, high = (100 * end for end in point.interval)
            axes.plot([x, x], [low, high], zorder=2, **_line(style.colour, "-"))
    axes.plot(across, means, label=_wrapped(series.row), zorder=3, **_marker(style.colour, style.marker))


def _draw_rows(axes: Axes, panel: Panel, limits: Interval) -> None:
    from matplotlib.ticker import MaxNLocator

    for position, series in enumerate(panel.series):
        style = look(series.number, reference=series.reference)
        (point,) = series.points
        if point.interval:
            low, high = (100 * end for end in point.interval)
            axes.plot([low, high], [position, position], **_line(style.colour, "-"))
        axes.plot([100 * point.mean], [position], **_marker(style.colour, style.marker))
    axes.xaxis.set_major_locator(MaxNLocator(_TICKS - 1))
    labels = [_wrapped(series.row) for series in panel.series]
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlim=limits, ylim=(len(labels) - 0.5, -0.5), xlabel="Accuracy, %")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def _line(colour: str, dashes: str) -> dict[str, Any]:
    return {"color": light(colour), "linestyle": dashes, "linewidth": 1.3}


def _marker(colour: str, marker: str) -> dict[str, Any]:
    edge = {"markeredgecolor": light("panel"), "markeredgewidth": 0.7}
    size = 8 if marker in "PX" else 6.5
    return {"color": light(colour), "linestyle": "none", "marker": marker, "markersize": size, **edge}


def _wrapped(label: str) -> str:
    """Return the label on three lines at most, cut if it is longer."""
    lines = textwrap.wrap(escaped(label), _LABEL) or [""]
    return "\n".join(lines if len(lines) <= 3 else [*lines[:2], lines[2][: _LABEL - 1] + "…"])
