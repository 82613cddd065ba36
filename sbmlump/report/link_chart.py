"""Charts for pages, written as SVG by hand: every mark is a link with a title, and each chart has a form for phones.

No library is needed to use them: a browser shows the title of a mark and follows its link.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

__all__ = ["Axis", "Bar", "ChartForm", "ChartCurve", "Mark", "bars", "both_forms", "curves", "histograms", "scatter"]


@dataclass(frozen=True, slots=True)
class ChartForm:
    """Sizes of a chart, in units of its view box, which are pixels where it has its full width.

    Attributes
    ----------
    css : str
        Class of the element that shows this form.
    width : int
    height : int
        Of a chart whose height does not follow from what it shows.
    left : int
        Room for the names of bars, and for numbers and label of a vertical axis (a third of it).
    top, bottom, right : int
        Room beside the plot; the horizontal axis is labelled at the bottom.
    bar : int
        Height of a bar with the room between two.
    side : bool
        Whether names stand beside their bars, and panels beside each other; else above and below.
    ticks : int
        Numbers at an axis at most.
    mark : float
        Radius.
    """

    css: str
    width: int
    height: int
    left: int
    top: int
    bottom: int
    right: int
    bar: int
    side: bool
    ticks: int
    mark: float


#: The width of the text of a page, and that of a phone held upright, where 14 units stay 14 pixels.
FORMS: Final = (
    ChartForm("wide", 720, 270, 190, 12, 46, 16, 30, True, 9, 3.4),
    ChartForm("phone", 340, 260, 186, 12, 46, 14, 46, False, 5, 4.2),
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A model in a chart of points."""

    x: float
    y: float
    kind: str
    title: str
    link: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar: its name, and its parts from left to right, each with the class of its colour, a title and a link."""

    name: str
    parts: Sequence[tuple[float, str, str, str]]
    told: str


@dataclass(frozen=True, slots=True)
class ChartCurve:
    """A line through points, with a title and a link."""

    points: Sequence[tuple[float, float]]
    title: str
    link: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis with plain numbers: 0.2, 0.5, 1.

    Attributes
    ----------
    label : str
    low, high : float
    logarithmic : bool
    at : sequence of float
        Where numbers stand; chosen among 1, 2 and 5 times powers of ten where there are none.
    words : sequence of str
        In the place of these numbers.
    """

    label: str
    low: float
    high: float
    logarithmic: bool = False
    at: Sequence[float] = ()
    words: Sequence[str] = field(default=())

    @classmethod
    def around(cls, label: str, values: Iterable[float]) -> Axis:
        """A logarithmic axis for positive values, ending at 1, 2 or 5 times a power of ten."""
        known = [value for value in values if value > 0]
        low, high = min(known, default=1.0), max(known, default=10.0)
        steps = _steps(low / 10, high * 10)
        below = max((step for step in steps if step <= low), default=low)
        above = min((step for step in steps if step >= high), default=high)
        return cls(label, below, above if above > below else 10 * below, logarithmic=True)

    def place(self, value: float) -> float:
        """Where a value is, from 0 to 1."""
        if self.logarithmic:
            return math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """Values and their texts, ``most`` at most."""
        if self.at:
            return list(zip(self.at, self.words or [tick_text(value) for value in self.at], strict=True))
        if self.logarithmic:
            for factors in ((1, 2, 5), (1, 3), (1,)):
                chosen = _steps(self.low, self.high, factors)
                if len(chosen) <= most:
                    break
            chosen = chosen[:: -(-len(chosen) // most)]
        else:
            step = min(step for step in _steps(1e-3, 1e9) if (self.high - self.low) / step < most)
            count = int((self.high - self.low) / step + 1e-9)
            chosen = [self.low + k * step for k in range(count + 1)]
        return [(value, tick_text(value)) for value in chosen]


def _steps(low: float, high: float, factors: Sequence[int] = (1, 2, 5)) -> list[float]:
    """Plain numbers between two positive ones."""
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    numbers = [factor * 10.0**power if power >= 0 else factor / 10.0**-power for power in powers for factor in factors]
    return [number for number in numbers if low * (1 - 1e-9) <= number <= high * (1 + 1e-9)]


def tick_text(value: float) -> str:
    """A number as people write it: 0.2, 5, 10,000."""
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.3g}"


def both_forms(draw: Callable[[ChartForm], str]) -> str:
    """A chart for wide pages and the same for phones; the style sheet shows one of them."""
    return "".join(f'<div class="chart {form.css}">{draw(form)}</div>' for form in FORMS)


# -- the charts --------------------------------------------------------------------------------------


def bars(rows: Sequence[Bar], label: str, form: ChartForm) -> str:
    """Horizontal bars, each of parts that are links."""
    left = form.left if form.side else form.right
    plot = form.width - left - (form.left // 2 if form.side else form.right)
    most = max((sum(value for value, *_ in row.parts) for row in rows), default=0) or 1
    thick = form.bar - 10 if form.side else form.bar - 26
    out = []
    for k, row in enumerate(rows):
        top = form.top + k * form.bar
        x = float(left)
        if form.side:
            out.append(_text(left - 8, top + thick * 0.5 + 5, row.name, "end"))
        else:
            out.append(_text(left, top + 12, row.name))
            out.append(_text(form.width - form.right, top + 12, row.told, "end"))
            top += 18
        for value, css, title, link in row.parts:
            wide = plot * value / most
            shape = f'<rect class="{css}" x="{x:.1f}" y="{top}" width="{max(wide, 0.8):.1f}" height="{thick}"/>'
            out.append(_link(shape, title, link, tab=True))
            x += wide
        if form.side:
            out.append(_text(x + 6, top + thick * 0.5 + 5, row.told))
    return _svg("".join(out), label, form.width, form.top + len(rows) * form.bar)


def scatter(marks: Sequence[Mark], x: Axis, y: Axis, label: str, form: ChartForm) -> str:
    """A point for each model; what is under each other is reached through the table of models."""
    left, right = form.left // 3, form.width - form.right
    bottom = form.height - form.bottom
    out = [_axes(x, y, left, right, form.top, bottom, form)]
    for mark in marks:
        px = left + (right - left) * x.place(mark.x)
        py = bottom - (bottom - form.top) * y.place(mark.y)
        out.append(_link(_shape(mark.kind, px, py, form.mark), mark.title, mark.link, tab=False))
    return _svg("".join(out), label, form.width, form.height)


def histograms(
    panels: Sequence[tuple[str, str, Sequence[tuple[float, float, int, str, str]]]],
    x: Axis,
    vertical: str,
    label: str,
    form: ChartForm,
) -> str:
    """Histograms beside each other, or below each other on a phone.

    Parameters
    ----------
    panels : sequence of (title, css class, bins)
        A bin is (from, to, count, title, link).
    x : Axis
    vertical : str
        Label of the vertical axes.
    """
    across = len(panels) if form.side else 1
    gap = form.left // 3
    wide = (form.width - form.right) / max(across, 1)
    high = form.height * (3 if form.side else 2) // 3 + 2 * form.top
    out = []
    for k, (title, css, bins) in enumerate(panels):
        left = gap + (k % across) * wide
        right = (k % across + 1) * wide
        top = form.top * 2 + 14 + (k // across) * high
        bottom = (k // across + 1) * high - form.bottom
        most = max((count for *_, count, _, _ in bins), default=0) or 1
        y = Axis(vertical if k % across == 0 else "", 0, most)
        out.append(_text(left, top - 10, title, css="head"))
        out.append(_axes(x, y, left, right, top, bottom, form))
        for low, up, count, told, link in bins:
            if not count:
                continue
            begin, end = (left + (right - left) * x.place(value) for value in (low, up))
            tall = (bottom - top) * count / most
            shape = (
                f'<rect class="{css}" x="{begin + 0.5:.1f}" y="{bottom - tall:.1f}" '
                f'width="{max(end - begin - 1, 1):.1f}" height="{tall:.1f}"/>'
            )
            out.append(_link(shape, told, link, tab=True))
    return _svg("".join(out), label, form.width, high * -(-len(panels) // across))


def curves(lines: Sequence[ChartCurve], x: Axis, y: Axis, label: str, form: ChartForm) -> str:
    """Lines, the broader the more things each stands for."""
    left, right = form.left // 3, form.width - form.right
    bottom = form.height - form.bottom
    out = [_axes(x, y, left, right, form.top, bottom, form)]
    for line in lines:
        places = [
            (left + (right - left) * x.place(a), bottom - (bottom - form.top) * y.place(b)) for a, b in line.points
        ]
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        dots = "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{form.mark}"/>' for a, b in places)
        broad = 1 + math.log2(line.count)
        out.append(
            _link(f'<polyline points="{points}" stroke-width="{broad:.1f}"/>{dots}', line.title, line.link, tab=True)
        )
    return _svg(f'<g class="curves">{"".join(out)}</g>', label, form.width, form.height)


# -- what they are made of ---------------------------------------------------------------------------


def _svg(content: str, label: str, width: float, height: float) -> str:
    # a group, not an image: an image has no links in it for those who do not see it
    return (
        f'<svg class="links" viewBox="0 0 {width:g} {height:g}" role="group" '
        f'aria-label="{escape(label, quote=True)}">{content}</svg>'
    )


def _link(shape: str, title: str, link: str, *, tab: bool) -> str:
    # hundreds of marks would be hundreds of stops of the tabulator on the way to the table with the same links
    stop = "" if tab else ' tabindex="-1"'
    name = escape(title, quote=True)
    return f'<a href="{escape(link, quote=True)}" aria-label="{name}"{stop}><title>{name}</title>{shape}</a>'


def _text(x: float, y: float, text: str, anchor: str = "start", css: str = "") -> str:
    kind = f' class="{css}"' if css else ""
    place = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}"{place}>{escape(text)}</text>'


def _shape(kind: str, x: float, y: float, size: float) -> str:
    css = f'class="{kind}"'
    if kind == "rational":
        return f'<rect {css} x="{x - size:.1f}" y="{y - size:.1f}" width="{2 * size:.1f}" height="{2 * size:.1f}"/>'
    if kind == "analytic":
        high = 1.2 * size
        return f'<path {css} d="M{x:.1f} {y - high:.1f}L{x + high:.1f} {y + size:.1f}H{x - high:.1f}z"/>'
    return f'<circle {css} cx="{x:.1f}" cy="{y:.1f}" r="{size:g}"/>'


def _axes(x: Axis, y: Axis, left: float, right: float, top: float, bottom: float, form: ChartForm) -> str:
    out = []
    for value, text in y.ticks(form.ticks // 2 + 2):
        place = bottom - (bottom - top) * y.place(value)
        out.append(f'<line class="grid" x1="{left:.1f}" x2="{right:.1f}" y1="{place:.1f}" y2="{place:.1f}"/>')
        out.append(_text(left - 6, place + 4, text, "end"))
    across = max(3, int(form.ticks * (right - left) / form.width))
    for value, text in x.ticks(across):
        place = left + (right - left) * x.place(value)
        out.append(f'<line class="tick" x1="{place:.1f}" x2="{place:.1f}" y1="{bottom:.1f}" y2="{bottom + 4:.1f}"/>')
        out.append(_text(place, bottom + 18, text, "middle"))
    out.append(f'<line class="axis" x1="{left:.1f}" x2="{right:.1f}" y1="{bottom:.1f}" y2="{bottom:.1f}"/>')
    out.append(_text((left + right) / 2, bottom + 38, x.label, "middle"))
    if y.label:
        middle = (top + bottom) / 2
        turned = f'transform="rotate(-90 {12} {middle:.1f})"'
        out.append(f'<text x="12" y="{middle:.1f}" text-anchor="middle" {turned}>{escape(y.label)}</text>')
    return "".join(out)
