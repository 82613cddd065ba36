"""``sbmlump curve``: size against error, as a table and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sbmlump.cli.options import (
    MODEL,
    OF_METHODS,
    TIME_LIMIT,
    declared_options,
    fast_reactions_option,
    given,
    observe_option,
    store_option,
)
from sbmlump.cli.output import DISPLAY, print_json, progress_reporter, say
from sbmlump.errors import LimitError, some_names
from sbmlump.files import make_folder, write_atomically
from sbmlump.jobs import Curve, compare_methods, curve
from sbmlump.methods.approximate.options import CURVE_ALGORITHMS
from sbmlump.methods.registry import DEFAULT_CHAINS, OPTIONS, Approximate
from sbmlump.options import Declared, Option, choice, declared
from sbmlump.stopping import Stop, stoppable

if TYPE_CHECKING:
    from sbmlump.jobs import MethodRow

__all__ = ["curve_command", "csv_of", "compare_methods_command"]


_OPTIONS = declared(Approximate)
_ALGORITHMS = Declared(
    "algorithm",
    Option(
        replace(choice(*CURVE_ALGORITHMS), several=True),
        "One or several; balanced, krylov and non-negative if absent.",
        flag="--algorithm",
    ),
    (),
)


@click.command("curve")
@click.argument("model", type=MODEL)
@observe_option()
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Folder for curve.csv and .svg.")
@declared_options(
    _ALGORITHMS, *(_OPTIONS[name] for name in ("max_size", "until", "ensemble", "spread", "refine", "seed"))
)
@store_option
@fast_reactions_option
@TIME_LIMIT
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def curve_command(
    model: str | Path,
    observe: tuple[str, ...],
    output: Path | None,
    algorithm: tuple[str, ...],
    time_limit: float | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Say how the error of the best reduction of MODEL falls with its size."""
    if output is not None and output.exists() and not output.is_dir():
        raise click.UsageError(f"{output} is not a folder; name one with -o")
    with _stoppable(time_limit), progress_reporter(quiet or as_json) as progress:
        found = curve(model, observe, algorithm, progress=progress, **options)
        if output is not None:
            _write(output, found)
    code = 0 if found.complete else LimitError.exit_code
    if as_json:
        print_json(found.as_json())
        return code
    _print_curve(found)
    if output is not None:
        say(f"written: {output / 'curve.csv'}, {output / 'curve.svg'}")
    return code


def _stoppable(seconds: float | None) -> AbstractContextManager[Stop]:
    return stoppable(seconds, lambda text: say(text, err=True))


def _print_curve(found: Curve) -> None:
    result, exact = found.result, found.exact_size
    if not result.points:
        say("no size had been tried")
        for reason in found.reasons:
            say(reason.message, err=True)
        return
    say(f"until {result.until:g} ({result.horizon_reason}); worst error over unseen starts, and the least in brackets")
    names = list(dict.fromkeys(p.algorithm for p in result.points))
    table = {(p.size, p.algorithm): p for p in result.points}
    say("size  " + "  ".join(f"{name:>19}" for name in names))
    for size in sorted({p.size for p in result.points}):
        cells = []
        for name in names:
            point = table.get((size, name))
            works = point is not None and point.max_relative_error < float("inf")
            told = "–"
            if point is not None and works:
                told = f"{point.max_relative_error:.2e} ({point.min_relative_error:.1e})"
            cells.append(f"{told:>19}")
        mark = "  exact" if size == exact else ""
        say(f"{size:>4}  " + "  ".join(cells) + mark)
    for name, sizes in _useless(found).items():
        say(
            f"{name}: an error of about 1 (size {some_names(sizes, DISPLAY.members)}) says that what is observed is "
            "not followed at all: it is as far off as it is large"
        )
    if exact is not None:
        say(f"the smallest exact reduction has {exact} states")
    for reason in found.reasons:
        say(reason.message, err=True)


def _useless(found: Curve) -> dict[str, list[str]]:
    """Sizes at which an algorithm gives a model that says nothing of what is observed."""
    sizes: dict[str, list[str]] = {}
    for point in found.result.points:
        if DISPLAY.nothing_followed <= point.max_relative_error < float("inf"):
            sizes.setdefault(point.algorithm, []).append(str(point.size))
    return sizes


def csv_of(found: Curve) -> str:
    """The points as CSV; an error is empty where no reduction works."""
    lines = ["size,algorithm,max_relative_error,median_relative_error,seconds,min_relative_error"]
    for p in found.result.points:
        found_errors = (p.max_relative_error, p.median_relative_error, p.min_relative_error)
        errors = [repr(error) if error < float("inf") else "" for error in found_errors]
        lines.append(f"{p.size},{p.algorithm},{errors[0]},{errors[1]},{p.seconds:.3f},{errors[2]}")
    return "\n".join(lines) + "\n"


def _write(folder: Path, found: Curve) -> None:
    from sbmlump.plot_style import svg_file

    make_folder(folder)
    write_atomically(folder / "curve.csv", csv_of(found).encode())
    write_atomically(folder / "curve.svg", svg_file(found.plot(), "curve"))


# -- ``sbmlump compare-methods`` -------------------------------------------------------------------

# ``sbmlump compare-methods``: what each reduction method makes of a model, in one table and one picture.


_NOT_COMPARED = ("neural",)  # is no reduction


@click.command("compare-methods")
@click.argument("model", type=MODEL)
@observe_option()
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
@store_option
@fast_reactions_option
@TIME_LIMIT
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def compare_methods_command(
    model: str | Path,
    observe: tuple[str, ...],
    methods: tuple[str, ...],
    output: Path | None,
    time_limit: float | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Run the reduction methods on MODEL side by side: size, error on the same runs, time, what is preserved."""
    with _stoppable(time_limit), progress_reporter(quiet or as_json) as progress:
        found = compare_methods(model, observe, methods, progress=progress, **given(options))
    size = found.model.states or 0
    picture = None
    if output is not None:
        from sbmlump.plot_style import svg_file

        picture = make_folder(output) / "methods.svg"
        write_atomically(picture, svg_file(found.plot(), "methods"))
    code = LimitError.exit_code if found.reasons else 0
    if as_json:
        print_json({**found.as_json(), "picture": None if picture is None else str(picture)})
        return code
    _print_methods(found.rows, size)
    for (a, b), value in found.differences.items():
        say(f"{a} and {b} differ by {value:.3g} (largest relative difference of what is observed)")
    for reason in found.reasons:
        say(reason.message, err=True)
    if picture is not None:
        say(f"picture: {picture}")
    return code


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
