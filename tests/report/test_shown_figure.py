"""Figures in a notebook."""

from __future__ import annotations

from pathlib import Path

import sbmlump


def test_a_figure_is_shown_where_pyplot_was_never_imported(data: Path) -> None:
    figure = sbmlump.compare(data / "ring.xml", data / "ring.xml", until=1.0).plot()
    assert figure._repr_png_().startswith(b"\x89PNG")  # what IPython asks for
