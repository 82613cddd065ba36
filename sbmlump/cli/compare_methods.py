"""``sbmlump compare-methods``: what each reduction method makes of a model, in one table and one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import click

from sbmlump.cli.options import ENSEMBLE, ERROR, HORIZON, SEED, SHARE, SIZE
from sbmlump.cli.output import Failure, print_failure, print_json, progress_reporter, say
from sbmlump.dynamics.ensemble import EnsembleSettings
from sbmlump.errors import SbmlumpError
from sbmlump.files import make_folder, write_atomically
from sbmlump.formats.load import load
from sbmlump.methods.compare_methods import DEFAULT_CHAINS, MethodRow, compare_methods, differences
from sbmlump.methods.steps import MethodOptions, method_names
from sbmlump.model.observables import parse_observables
from sbmlump.outcome import reason_json

__all__ = ["command", "draw"]


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
    help=f"A method, or several joined by commas; {'; '.join(DEFAULT_CHAINS)} if none is given.",
)
@click.option("--fast", default="auto", show_default=True, metavar="ID,…|auto", help="Fast states or reactions.")
@click.option("--max-error", type=ERROR, metavar="R", help="For methods that look for a size.")
@click.option("--max-size", type=SIZE, metavar="N", help="For methods that look for a size.")
@click.option("--until", type=HORIZON, metavar="T", help="Horizon; chosen from the model if absent.")
@click.option("--ensemble", type=ENSEMBLE, default=6, show_default=True, help="Perturbed initial states.")
@click.option("--spread", type=SHARE, default=0.2, show_default=True, help="Relative size of the perturbation.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Write methods.svg there.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the random numbers.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def command(
    model: Path,
    observe: tuple[str, ...],
    methods: tuple[str, ...],
    fast: str,
    max_error: float | None,
    max_size: int | None,
    until: float | None,
    ensemble: int,
    spread: float,
    output: Path | None,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run the reduction methods on MODEL side by side: size, error on the same runs, time, what is preserved."""
    try:
        for chain in methods:
            method_names(chain)
        system = load(model)
        observables = parse_observables(system, observe)
        options = MethodOptions(
            fast="auto" if fast == "auto" else tuple(name.strip() for name in fast.split(",") if name.strip()),
            max_error=max_error,
            max_size=max_size,
            trial=EnsembleSettings(until, ensemble, spread, seed),
            seed=seed,
        )
        with progress_reporter(quiet or as_json) as progress:
            rows = compare_methods(system, observables, methods or DEFAULT_CHAINS, options, progress=progress)
            apart = differences(rows, options.trial)
    except SbmlumpError as error:
        return print_failure(Failure.of(error), as_json=as_json)
    picture = None
    if output is not None:
        picture = make_folder(output) / "methods.svg"
        write_atomically(picture, draw(rows, system.size, system.name or system.id))
    if as_json:
        print_json(
            {
                "model": {"id": system.id, "file": str(model), "states": system.size},
                "observables": [one.id for one in observables],
                "methods": [
                    {**row.as_json(), "reason": reason_json(row.reason) if row.reason else None} for row in rows
                ],
                "differences": [
                    {"methods": list(pair), "max_relative_difference": value if math.isfinite(value) else None}
                    for pair, value in apart.items()
                ],
                "picture": None if picture is None else str(picture),
            }
        )
    else:
        _print_methods(rows, system.size)
        for (a, b), value in apart.items():
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
