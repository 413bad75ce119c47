"""Charts as SVG inside a page: their text is text, and their colours are those of the page's style sheet."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from stages.report.comparison import percent
from stages.report.markup import Markup, joined, tag
from thaw.scoring.scoring import Bin

WIDTH, HEIGHT = 320, 200
LEFT, RIGHT, TOP, BOTTOM = 44, 18, 24, 36
"""Margins of a chart, for what is written around it."""
ROW = 40
"""Height of a row with an interval."""
LONGEST_LABEL = 28
TICKS = 5


@dataclass(frozen=True)
class Axis:
    """Where values lie along a side of a chart."""

    low: float
    high: float
    start: float
    """Of `low`, in the chart's units."""
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = (math.log10(one) if self.log else one for one in (self.low, self.high, value))
        return self.start + (at - low) / (high - low) * (self.end - self.start) if high > low else self.start

    def ticks(self) -> list[float]:
        """Return round values, `TICKS` or not many more."""
        if self.log and self.high >= 10 * self.low:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            if first == last:  # by one tick alone, nobody can tell where the other values are
                ticks = (factor * 10.0**first for factor in (0.2, 0.5, 1, 2, 5))
                return [tick for tick in ticks if self.low <= tick <= self.high]
            return [10.0**power for power in range(first, last + 1, math.ceil((last - first + 1) / TICKS))]
        if self.high == self.low:
            return [self.low]
        least = (self.high - self.low) / TICKS
        magnitude = 10.0 ** math.floor(math.log10(least))
        step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= least * (1 - 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def shortened(text: str, most: int) -> str:
    """Return a text of so many characters at most."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def share(value: float) -> str:
    return f"{round(value * 100, 6):g}%"


def plain(value: float) -> str:
    return f"{value:.4g}"


def intervals(rows: Sequence[tuple[str, float, float, float]], alternative: str) -> Markup:
    """Draw shares with their intervals below each other.

    Args:
        rows: a name, its share, and its interval's bounds.
        alternative: what the chart says, for those who do not see it.
    """
    bottom = ROW * len(rows) + 4
    lowest = min(low for _, _, low, _ in rows)
    x = Axis(min(math.floor(lowest * 20) / 20, 0.95), 1.0, RIGHT, WIDTH - RIGHT)
    parts = [*_vertical_grid(x, 0, bottom)]
    for number, (name, value, low, high) in enumerate(rows):
        top = number * ROW
        parts += [
            _text(x.start, top + 15, shortened(name, LONGEST_LABEL), "name"),
            _text(x.end, top + 15, percent(value), "name", text_anchor="end"),
            _line(x(low), top + 28, x(high), top + 28, "interval"),
            _dot(x(value), top + 28, 5),
        ]
    return _chart(bottom + 20, alternative, parts)


def curves(
    title: str,
    steps: Sequence[float],
    lines: dict[str, Sequence[float]],
    y: tuple[float, float],
    alternative: str,
    *,
    x_label: str,
    log_x: bool = False,
    log_y: bool = False,
    written: Callable[[float], str] = plain,
    marked: int | None = None,
) -> Markup:
    """Draw curves over the same steps.

    Args:
        title: what is drawn.
        steps: numbers in ascending order.
        lines: values at each step, by the class that the style sheet has for the curve.
        y: least and greatest value that the chart has room for.
        alternative: what the chart says, for those who do not see it.
        x_label: what the steps are.
        log_x: whether their axis is logarithmic.
        log_y: whether the values' is.
        written: how a value is written.
        marked: number of a step that was chosen.
    """
    x_axis = Axis(steps[0], steps[-1], LEFT + 8, WIDTH - RIGHT, log_x)
    y_axis = Axis(*y, HEIGHT - BOTTOM, TOP, log_y)
    x_ticks = [tick for tick in x_axis.ticks() if log_x or tick == int(tick)]
    parts = [*_horizontal_grid(y_axis, written), _ticks_below(x_axis, x_ticks, HEIGHT - BOTTOM, plain)]
    parts.append(_text(LEFT, 14, title, "title"))
    parts.append(_text((x_axis.start + x_axis.end) / 2, HEIGHT - 4, x_label, text_anchor="middle"))
    if marked is not None:
        parts.append(_line(x_axis(steps[marked]), TOP, x_axis(steps[marked]), HEIGHT - BOTTOM, "chosen"))
    for kind, values in lines.items():
        points = [
            (x_axis(step), y_axis(min(max(value, y[0]), y[1])))
            for step, value in zip(steps, values, strict=True)
            if math.isfinite(value)
        ]
        parts.append(tag("polyline", points=" ".join(f"{px:.1f},{py:.1f}" for px, py in points), class_=kind))
        if len(points) == 1:
            parts.append(_dot(*points[0], 3, kind))
    return _chart(HEIGHT, alternative, parts)


def reliability(bins: Sequence[Bin], alternative: str) -> Markup:
    """Draw accuracy by confidence, with intervals, and a diagonal on which a calibrated classifier would be."""
    x, y = Axis(0, 1, LEFT, WIDTH - RIGHT), Axis(0, 1, WIDTH - BOTTOM, 12)
    images = sum(one.images for one in bins)
    parts = [*_horizontal_grid(y, share), *_vertical_grid(x, y.end, y.start)]
    parts.append(_line(x.start, y.start, x.end, y.end, "ideal"))
    for one in bins:
        parts.append(_line(x(one.confidence), y(one.accuracy_low), x(one.confidence), y(one.accuracy_high), "interval"))
        parts.append(_dot(x(one.confidence), y(one.accuracy), 3 + 5 * math.sqrt(one.images / images)))
    parts.append(_text((x.start + x.end) / 2, WIDTH - 4, "confidence", text_anchor="middle"))
    parts.append(_text(x.start + 6, y.end + 14, "accuracy"))
    return _chart(WIDTH, alternative, parts)


def _chart(height: float, alternative: str, parts: Sequence[Markup]) -> Markup:
    return tag("svg", *parts, viewBox=f"0 0 {WIDTH} {height:g}", role="img", aria_label=alternative)


def _horizontal_grid(y: Axis, written: Callable[[float], str]) -> Iterator[Markup]:
    for tick in y.ticks():
        yield _line(LEFT, y(tick), WIDTH - RIGHT, y(tick), "grid")
        yield _text(LEFT - 6, y(tick) + 4, written(tick), text_anchor="end")


def _vertical_grid(x: Axis, top: float, bottom: float) -> Iterator[Markup]:
    for tick in x.ticks():
        yield _line(x(tick), top, x(tick), bottom, "grid")
    yield _ticks_below(x, x.ticks(), bottom, share)


def _ticks_below(x: Axis, ticks: Sequence[float], bottom: float, written: Callable[[float], str]) -> Markup:
    return joined(*(_text(x(tick), bottom + 15, written(tick), text_anchor="middle") for tick in ticks))


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return tag("line", x1=f"{x1:.1f}", y1=f"{y1:.1f}", x2=f"{x2:.1f}", y2=f"{y2:.1f}", class_=kind)


def _dot(x: float, y: float, radius: float, kind: str | None = None) -> Markup:
    return tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=f"{radius:.1f}", class_=kind)


def _text(x: float, y: float, text: str, kind: str | None = None, **attributes: str) -> Markup:
    return tag("text", text, x=f"{x:.1f}", y=f"{y:.1f}", class_=kind, **attributes)
