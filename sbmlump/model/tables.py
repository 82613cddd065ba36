"""Tables for notebooks: HTML of the standard library, data frames where pandas is installed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib import import_module
from typing import Any, Final

from sbmlump.errors import Reason, UnsupportedModelError

__all__ = ["frame_of", "html_table"]

_MOST_ROWS: Final = 60  # of a table in a notebook: a screen or two


def html_table(head: str, titles: Sequence[str], rows: Iterable[Sequence[Any]], most: int = _MOST_ROWS) -> str:
    """A table with a heading; rows beyond ``most`` are counted, not shown."""
    listed = list(rows)
    top = "".join(f"<th>{escape(title)}</th>" for title in titles)
    body = "".join(f"<tr>{''.join(f'<td>{escape(_shown(cell))}</td>' for cell in row)}</tr>" for row in listed[:most])
    if len(listed) > most:
        body += f'<tr><td colspan="{len(titles)}">… and {len(listed) - most} more</td></tr>'
    return f"<p><b>{escape(head)}</b></p><table><tr>{top}</tr>{body}</table>"


def _shown(cell: Any) -> str:
    if cell is None:
        return ""
    return f"{cell:.6g}" if isinstance(cell, float) else str(cell)


def frame_of(titles: Sequence[str], rows: Iterable[Sequence[Any]], index: Sequence[Any] | None = None) -> Any:
    """A data frame of pandas, which is asked for only here.

    Raises
    ------
    UnsupportedModelError
        Code ``extra-missing`` where pandas is not installed.
    """
    try:
        pandas = import_module("pandas")
    except ImportError as error:
        raise UnsupportedModelError(Reason("extra-missing", "pandas is not installed: pip install pandas")) from error
    return pandas.DataFrame([list(row) for row in rows], columns=list(titles), index=index)
