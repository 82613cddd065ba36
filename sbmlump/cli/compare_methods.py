"""``sbmlump compare-methods``: what each reduction method makes of a model, in one table and one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sbmlump.cli.options import OF_METHODS, declared_options, given
from sbmlump.cli.output import print_json, progress_reporter, say
from sbmlump.files import make_folder, write_atomically
from sbmlump.jobs import DEFAULT_CHAINS, OPTIONS, compare_methods

if TYPE_CHECKING:
    from sbmlump.methods.compare_methods import MethodRow

__all__ = ["compare_methods_command", "draw"]

_NOT_COMPARED = ("neural",)  # is no reduction


@click.command("compare-methods")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--observe", multiple=True, metavar="EXPR", required=True, help="What to keep; several times for several."
)
@click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="NAME",
    help=f"A method, a+b for several in turn; several with commas between them. {', '.join(DEFAULT_CHAINS)} if absent.",
)
@declared_options(
    *(OPTIONS[name] for name in ("until", *(one for one in OF_METHODS if one not in _NOT_COMPARED), "seed"))
)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Write methods.svg there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def compare_methods_command(
    model: Path,
    observe: tuple[str, ...],
    methods: tuple[str, ...],
    output: Path | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Run the reduction methods on MODEL side by side: size, error on the same runs, time, what is preserved."""
    with progress_reporter(quiet or as_json) as progress:
        found = compare_methods(model, observe, methods, progress=progress, **given(options))
    size = found.model.states or 0
    picture = None
    if output is not None:
        picture = make_folder(output) / "methods.svg"
        write_atomically(picture, draw(found.rows, size, found.title))
    if as_json:
        print_json({**found.as_json(), "picture": None if picture is None else str(picture)})
        return 0
    _print_methods(found.rows, size)
    for (a, b), value in found.differences.items():
        say(f"{a} and {b} differ by {value:.3g} (largest relative difference of what is observed)")
    if picture is not None:
        say(f"picture: {picture}")
    return 0


def _print_methods(rows: Sequence[MethodRow], size: int) -> None:
    width = max(len(row.method) for row in rows) if rows else 6
    say(f"{'method':<{width}}  {'states':>9}  {'worst error':>11}  {'seconds':>7}  preserved")
    for row in rows:
        if row.size is None:
            reason = row.reason.message if row.reason else ""
            say(f"{row.method:<{width}}  {'-':>9}  {'-':>11}  {row.seconds:>7.2f}  {reason}")
            continue
        states = f"{size} -> {row.size}"
        error = "proved" if row.exact else "not known" if row.error is None else f"{row.error:.3g}"
        lost = f"all but {', '.join(row.lost)}" if row.lost else ("all" if row.kept else "nothing was reduced")
        say(f"{row.method:<{width}}  {states:>9}  {error:>11}  {row.seconds:>7.2f}  {lost}")


def draw(rows: Sequence[MethodRow], size: int, title: str) -> bytes:
    """Size against error as SVG."""
    from sbmlump.plot_style import svg_file
    from sbmlump.report.figures import methods_figure

    return svg_file(methods_figure(rows, size, title), "methods")
