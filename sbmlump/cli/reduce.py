"""``sbmlump reduce``: the main job."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from sbmlump.cli.options import ENSEMBLE, ERROR, HORIZON, POINTS, SEED, SHARE, SIZE, isolation_options
from sbmlump.cli.output import Failure, print_failure, print_json, progress_reporter
from sbmlump.cli.summary import summarise
from sbmlump.errors import SbmlumpError
from sbmlump.jobs import run_reduction
from sbmlump.methods.registry import METHODS, ReduceOptions
from sbmlump.outcome import ModelFacts, Outcome

__all__ = ["command"]


@click.command("reduce")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where to write the reduced SBML.")
@click.option(
    "--observe",
    "observe",
    multiple=True,
    metavar="EXPR",
    help="What to keep: an id, 'A + 2*B', or 'total = A + B'. May be given several times.",
)
@click.option("--method", default="exact", show_default=True, metavar="NAME", help=f"One of {', '.join(METHODS)}.")
@click.option(
    "--keep-parameters",
    default="none",
    show_default=True,
    metavar="none|all|ID,ID",
    help="Constants for all of whose values the reduction is to hold.",
)
@click.option("--until", type=HORIZON, metavar="T", help="Horizon of the comparison; chosen from the model if absent.")
@click.option("--points", type=POINTS, default=201, show_default=True, help="Points of the comparison grid.")
@click.option("--no-check", "check", is_flag=True, flag_value=False, default=True, help="Do not simulate.")
@click.option("--strict", is_flag=True, help="Exit 1 if nothing could be reduced.")
@click.option("--on-class", is_flag=True, help="Take conserved totals that are left as constants.")
@click.option(
    "--lumping",
    metavar="FILE",
    help="Use the lumps in this file (CSV, or lines y = A + B), and say whether that is exact.",
)
@click.option("--algorithm", default="balanced", show_default=True, help="Approximate: balanced or krylov.")
@click.option("--tolerance", type=ERROR, metavar="EPS", help="Approximate, krylov: largest part to be left out.")
@click.option("--max-size", type=SIZE, metavar="N", help="Approximate, learned: at most N states.")
@click.option(
    "--max-error",
    type=ERROR,
    metavar="R",
    help="Approximate, learned, relation graph: smallest model with this relative error.",
)
@click.option("--ensemble", type=ENSEMBLE, metavar="N", help="Approximate: perturbed starts to learn from.")
@click.option("--spread", type=SHARE, default=0.2, show_default=True, help="Approximate: size of the perturbation.")
@click.option("--perturb-parameters", type=SHARE, default=0.0, metavar="S", help="Approximate: vary parameters too.")
@click.option("--refine", is_flag=True, help="Approximate: improve by least squares.")
@click.option(
    "--work",
    type=HORIZON,
    metavar="N",
    help="Approximate: units of work that the search may do (60; about a second each).",
)
@click.option("--non-negative", is_flag=True, help="Approximate: keep the lifted state non-negative.")
@click.option("--fast", default="auto", show_default=True, metavar="ID,…|auto", help="Fast states or reactions.")
@click.option("--threshold", type=ERROR, metavar="R", help="Relation graph: least influence that is kept.")
@click.option(
    "--weighting",
    metavar="NAME",
    help="Relation graph: maximum, average or turnover; the first with a threshold, else all are tried.",
)
@click.option(
    "--total", "totals", multiple=True, metavar="EXPR", help="Conservation: only this total, such as 'A + B'."
)
@click.option("--rational", is_flag=True, help="Learned: try right-hand sides with denominators too.")
@click.option(
    "--neural",
    metavar="FILE",
    help="Learned: also train a small neural closure and save its weights there (needs the extra neural).",
)
@click.option("--reconstruct", metavar="ID,…|all", help="Give these original species where the lumps determine them.")
@click.option("--as", "form", type=click.Choice(["reactions", "rate-rules"]), default="reactions", show_default=True)
@click.option("--report", "report_folder", type=click.Path(path_type=Path), metavar="DIR", help="Write an HTML page.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the random numbers.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@isolation_options
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def command(
    model: Path,
    output: Path | None,
    observe: tuple[str, ...],
    report_folder: Path | None,
    form: str,
    as_json: bool,
    quiet: bool,
    **chosen: Any,
) -> int:
    """Reduce MODEL to the smallest model that keeps what is observed, and write it as SBML."""
    # every other option has the name of a field of ReduceOptions
    options = ReduceOptions(**chosen, as_rate_rules=form == "rate-rules")
    try:
        with progress_reporter(quiet or as_json) as progress:
            outcome = run_reduction(model, observe, options, output, progress=progress)
            page = _write_page(report_folder, outcome, model, output)
    except SbmlumpError as error:
        empty = Outcome("failed", ModelFacts(file=str(model)), options.method)
        return print_failure(Failure.of(error, empty.as_json()), as_json=as_json)
    if as_json:
        print_json(outcome.as_json())
    else:
        summarise(outcome, page)
    return outcome.exit_code


def _write_page(folder: Path | None, outcome: Outcome, model: Path, output: Path | None) -> Path | None:
    if folder is None or outcome.reduction is None:
        return None
    from sbmlump.report.model_page import write_model_page

    return write_model_page(
        folder,
        outcome.reduction,
        outcome.report,
        original_file=model,
        reduced_file=output,
        command=["sbmlump", *sys.argv[1:]],
    )
