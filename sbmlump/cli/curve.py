"""``sbmlump curve``: size against error, as a table and a picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from sbmlump.cli.options import declared_options
from sbmlump.cli.output import print_json, progress_reporter, say
from sbmlump.files import make_folder, write_atomically
from sbmlump.jobs import ALGORITHMS, Approximate, Curve, curve
from sbmlump.options import Declared, Option, choice, declared

__all__ = ["curve_command", "csv_of"]


_OPTIONS = declared(Approximate)
_ALGORITHMS = Declared(
    "algorithm",
    Option(
        replace(choice(*ALGORITHMS), several=True), "One or several; balanced and krylov if absent.", flag="--algorithm"
    ),
    (),
)


@click.command("curve")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--observe", multiple=True, required=True, metavar="EXPR", help="What to keep; may be repeated.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Folder for curve.csv and .svg.")
@declared_options(
    _ALGORITHMS, *(_OPTIONS[name] for name in ("max_size", "until", "ensemble", "spread", "refine", "seed"))
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def curve_command(
    model: Path,
    observe: tuple[str, ...],
    output: Path | None,
    algorithm: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Say how the error of the best reduction of MODEL falls with its size."""
    if output is not None and output.exists() and not output.is_dir():
        raise click.UsageError(f"{output} is not a folder; name one with -o")
    with progress_reporter(quiet or as_json) as progress:
        found = curve(model, observe, algorithm, progress=progress, **options)
        if output is not None:
            _write(output, found)
    if as_json:
        print_json(found.as_json())
        return 0
    _print_curve(found)
    if output is not None:
        say(f"written: {output / 'curve.csv'}, {output / 'curve.svg'}")
    return 0


def _print_curve(found: Curve) -> None:
    result, exact = found.result, found.exact_size
    say(f"until {result.until:g} ({result.horizon_reason}); worst error over unseen starts")
    names = list(dict.fromkeys(p.algorithm for p in result.points))
    table = {(p.size, p.algorithm): p for p in result.points}
    say("size  " + "  ".join(f"{name:>12}" for name in names))
    for size in sorted({p.size for p in result.points}):
        cells = []
        for name in names:
            point = table.get((size, name))
            works = point is not None and point.max_relative_error < float("inf")
            cells.append(f"{point.max_relative_error:>12.2e}" if point is not None and works else f"{'–':>12}")
        mark = "  exact" if size == exact else ""
        say(f"{size:>4}  " + "  ".join(cells) + mark)
    if exact is not None:
        say(f"the smallest exact reduction has {exact} states")
    for reason in found.reasons:
        say(reason.message, err=True)


def csv_of(found: Curve) -> str:
    """The points as CSV; an error is empty where no reduction works."""
    lines = ["size,algorithm,max_relative_error,median_relative_error,seconds"]
    for p in found.result.points:
        errors = [repr(e) if e < float("inf") else "" for e in (p.max_relative_error, p.median_relative_error)]
        lines.append(f"{p.size},{p.algorithm},{errors[0]},{errors[1]},{p.seconds:.3f}")
    return "\n".join(lines) + "\n"


def _write(folder: Path, found: Curve) -> None:
    from sbmlump.plot_style import svg_file
    from sbmlump.report.figures import curve_figure

    make_folder(folder)
    write_atomically(folder / "curve.csv", csv_of(found).encode())
    figure = curve_figure(found.result.points, found.exact_size, found.title)
    write_atomically(folder / "curve.svg", svg_file(figure, "curve"))
