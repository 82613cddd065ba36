"""Small pictures of trajectories, written as SVG by hand: hundreds of bytes a line, not a figure's tens of kB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import isfinite
from typing import Any, Final

__all__ = ["trajectory_svg"]

_W: Final = 300
_H: Final = 120
_LEFT: Final = 8
_BOTTOM: Final = 16


def trajectory_svg(row: Mapping[str, Any]) -> str:
    """Original and reduced trajectory of a checked row as an ``svg`` element."""
    times, original, reduced = row["trajectory_time"], row["trajectory_original"], row["trajectory_reduced"]
    values = [value for value in (*original, *reduced) if isfinite(value)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    span = high - low or abs(high) or 1.0
    end = times[-1] or 1.0
    label = f"{row['observable']} by {row['method']}: original and reduced from 0 to {end:g}, {low:.3g} to {high:.3g}"

    def line(series: Sequence[float], css: str) -> str:
        points = " ".join(
            f"{_LEFT + (_W - _LEFT) * t / end:.1f},{4 + (_H - 8 - _BOTTOM) * (1 - (value - low) / span):.1f}"
            for t, value in zip(times, series, strict=True)
            if isfinite(value)
        )
        return f'<polyline class="{css}" points="{points}"/>'

    return (
        f'<svg viewBox="0 0 {_W} {_H}" role="img" aria-label="{escape(label, quote=True)}">'
        f'<line class="axis" x1="{_LEFT}" y1="{_H - _BOTTOM}" x2="{_W}" y2="{_H - _BOTTOM}"/>'
        f"{line(original, 'before')}{line(reduced, 'after')}"
        f'<text x="{_LEFT}" y="{_H - 3}">{low:.3g} … {high:.3g}</text>'
        f'<text x="{_W}" y="{_H - 3}" text-anchor="end">t = {end:.3g}</text></svg>'
        f"<figcaption>{escape(str(row['observable']))} ({escape(str(row['method']))}, "
        f"{row['original_size']} → {row['reduced_size']} states)</figcaption>"
    )
