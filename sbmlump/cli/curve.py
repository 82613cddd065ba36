"""``sbmlump curve``: size against error, as a table and a picture."""

from __future__ import annotations

from pathlib import Path

import click

from sbmlump.cli.options import ENSEMBLE, HORIZON, SEED, SHARE, SIZE
from sbmlump.cli.output import print_json, progress_reporter, say
from sbmlump.errors import SbmlumpError
from sbmlump.files import make_folder, write_atomically
from sbmlump.formats.load import load
from sbmlump.methods.approximate.run import ALGORITHMS, CurveResult, curve
from sbmlump.methods.exact.lump import lump_exactly
from sbmlump.model.observables import parse_observables

__all__ = ["command", "csv_of"]


@click.command("curve")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--observe", multiple=True, required=True, metavar="EXPR", help="What to keep; may be repeated.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Folder for curve.csv and .svg.")
@click.option(
    "--algorithm",
    "algorithms",
    multiple=True,
    type=click.Choice(ALGORITHMS),
    help="One or several; balanced and krylov if absent.",
)
@click.option("--max-size", type=SIZE, metavar="N", help="No sizes above this.")
@click.option("--until", type=HORIZON, metavar="T", help="Horizon; chosen from what is observed if absent.")
@click.option("--ensemble", type=ENSEMBLE, default=24, show_default=True, help="Perturbed starts to learn from.")
@click.option("--spread", type=SHARE, default=0.2, show_default=True, help="Relative perturbation of initial values.")
@click.option("--refine", is_flag=True, help="Improve the balanced reductions (takes longer).")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the random numbers.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def command(
    model: Path,
    observe: tuple[str, ...],
    output: Path | None,
    algorithms: tuple[str, ...],
    max_size: int | None,
    until: float | None,
    ensemble: int,
    spread: float,
    refine: bool,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> int:
    """Say how the error of the best reduction of MODEL falls with its size."""
    if output is not None and output.exists() and not output.is_dir():
        raise click.UsageError(f"{output} is not a folder; name one with -o")
    with progress_reporter(quiet or as_json) as progress:
        system = load(model)
        observables = parse_observables(system, observe)
        result = curve(
            system,
            observables,
            algorithms=[one for one in ALGORITHMS if one in algorithms] or ("balanced", "krylov"),
            max_size=max_size,
            until=until,
            ensemble=ensemble,
            spread=spread,
            seed=seed,
            refine=refine,
            progress=progress,
        )
        exact: int | None = None
        remark = ""
        try:
            exact = lump_exactly(system, observables, seed=seed, progress=progress).system.size
        except SbmlumpError as error:
            remark = f"the exact size is not known: {error}"
        if output is not None:
            _write(output, result, exact, f"{system.id}: {', '.join(o.id for o in observables)}")
    if as_json:
        print_json(
            {
                "exact_size": exact,
                "until": result.until,
                "points": [
                    {
                        "size": p.size,
                        "algorithm": p.algorithm,
                        "max_relative_error": p.max_relative_error,
                        "median_relative_error": p.median_relative_error,
                        "seconds": p.seconds,
                    }
                    for p in result.points
                ],
                "reasons": [{"code": "exact-size-unknown", "element": None, "message": remark}] if remark else [],
            }
        )
        return 0
    _print_curve(result, exact, remark)
    if output is not None:
        say(f"written: {output / 'curve.csv'}, {output / 'curve.svg'}")
    return 0


def _print_curve(result: CurveResult, exact: int | None, remark: str) -> None:
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
    if remark:
        say(remark, err=True)


def csv_of(result: CurveResult) -> str:
    """The points as CSV; an error is empty where no reduction works."""
    lines = ["size,algorithm,max_relative_error,median_relative_error,seconds"]
    for p in result.points:
        errors = [repr(e) if e < float("inf") else "" for e in (p.max_relative_error, p.median_relative_error)]
        lines.append(f"{p.size},{p.algorithm},{errors[0]},{errors[1]},{p.seconds:.3f}")
    return "\n".join(lines) + "\n"


def _write(folder: Path, result: CurveResult, exact: int | None, title: str) -> None:
    from sbmlump.plot_style import svg_file
    from sbmlump.report.figures import curve_figure

    make_folder(folder)
    write_atomically(folder / "curve.csv", csv_of(result).encode())
    write_atomically(folder / "curve.svg", svg_file(curve_figure(result.points, exact, title), "curve"))
