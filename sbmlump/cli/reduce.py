"""``sbmlump reduce``: the main job."""

from __future__ import annotations

import sys
import tempfile
from contextlib import AbstractContextManager, nullcontext
from importlib import resources
from pathlib import Path
from typing import Any

import click

from sbmlump.cli.help import SectionedCommand, examples, methods_in_a_line
from sbmlump.cli.options import (
    FORCE,
    LIMIT_OF_CHILD,
    MODEL,
    OF_METHODS,
    OF_REDUCTIONS,
    declared_options,
    fast_reactions_option,
    given,
    isolation_options,
    observe_option,
    store_option,
)
from sbmlump.cli.output import Failure, print_failure, print_json, print_outcome, progress_reporter, say
from sbmlump.errors import Reason, SbmlumpError, UsageError
from sbmlump.files import make_folder, write_atomically
from sbmlump.jobs import run_reduction
from sbmlump.methods.approximate.options import ApproximateOptions
from sbmlump.methods.method import Progress
from sbmlump.methods.registry import OPTIONS, Learned, ReduceOptions, reduce_options
from sbmlump.outcome import ModelFacts, Outcome
from sbmlump.stopping import AnswerSettings, Stop, stoppable

__all__ = ["reduce_command", "demo_command"]


_EXAMPLES = examples(
    (
        "sbmlump reduce model.xml --observe A -o reduced.xml --report page",
        'sbmlump reduce BIOMD0000000010 --observe "total = MAPK_P + MAPK_PP" --method conservation+exact -o small.xml',
        "sbmlump reduce model.xml --observe A --method approximate --max-error 0.01 -o small.xml",
    )
)


@click.command("reduce", cls=SectionedCommand, listed=methods_in_a_line(), epilog=_EXAMPLES)
@click.argument("model", type=MODEL, required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write; its suffix decides.")
@click.option(
    "--petab",
    "problem",
    type=click.Path(path_type=Path),
    metavar="YAML",
    help="In place of MODEL: a PEtab problem, which is written with the reduced model into the folder OUTPUT.",
)
@FORCE
@observe_option()
@declared_options(*(OPTIONS[name] for name in (*OF_REDUCTIONS, *OF_METHODS)))
@click.option("--report", "report_folder", type=click.Path(path_type=Path), metavar="DIR", help="Write an HTML page.")
@store_option
@fast_reactions_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@isolation_options
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def reduce_command(
    model: str | Path | None,
    output: Path | None,
    problem: Path | None,
    force: bool,
    observe: tuple[str, ...],
    report_folder: Path | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Reduce MODEL to the smallest model that keeps what is observed, and write it as SBML.

    Without --observe it names the observables that give the smallest models.
    """
    if model is None and problem is None:
        raise click.UsageError("Missing argument 'MODEL' (or --petab YAML).")
    page: Path | None = None
    try:
        chosen = reduce_options(**given(options))
        searches = any(isinstance(method, ApproximateOptions | Learned) for method in chosen.chain)
        stops = _stopping_in_time() if searches else nullcontext()
        in_child = LIMIT_OF_CHILD.get() is not None
        with stops, progress_reporter(quiet or as_json or in_child) as progress:
            if model is None:
                assert problem is not None
                outcome = _reduce_problem(problem, output, observe, chosen, force, progress)
                page = _write_page(report_folder, outcome, problem)
            else:
                if problem is not None:
                    raise _only_one("MODEL", "its model is in its files")
                shown = report_folder is not None
                outcome = run_reduction(model, observe, chosen, output, force=force, shown=shown, progress=progress)
                page = _write_page(report_folder, outcome, model)
    except SbmlumpError as error:
        empty = Outcome("failed", ModelFacts(file=str(model or problem)), options["method"])
        return print_failure(Failure.of(error, empty.as_json()), as_json=as_json)
    if as_json:
        print_json(outcome.as_json())
    else:
        print_outcome(outcome, page)
    return outcome.exit_code


def _stopping_in_time() -> AbstractContextManager[Stop]:
    """A search that stops while there is time for its answer."""
    seconds, begun = LIMIT_OF_CHILD.get() or (None, None)
    return stoppable(seconds, lambda text: say(text, err=True), answer=AnswerSettings(), begun=begun)


def _reduce_problem(
    problem: Path,
    output: Path | None,
    observe: tuple[str, ...],
    options: ReduceOptions,
    force: bool,
    progress: Progress,
) -> Outcome:
    from sbmlump.petab import reduce_petab

    if output is None:
        raise UsageError(Reason("no-output", "a PEtab problem is written into a folder; name one with -o"))
    if observe:
        raise _only_one("--observe", "what is observed stands in its observable table")
    return reduce_petab(problem, output, options, force=force, progress=progress)


def _only_one(option: str, why: str) -> UsageError:
    return UsageError(Reason("petab-alone", f"--petab takes no {option}: {why}"))


def _write_page(folder: Path | None, outcome: Outcome, model: str | Path) -> Path | None:
    if folder is None or outcome.reduction is None:
        return None
    from sbmlump.report.model_page import write_outcome_page

    return write_outcome_page(folder, outcome, original_file=model, command=["sbmlump", *sys.argv[1:]])


# -- ``sbmlump demo``: a striking reduction of a bundled model -----------------------------------


_MODEL = "multisite_3.xml"
_OBSERVE = ("kinase",)


@click.command("demo")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder for the files; a new one if absent.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def demo_command(output: Path | None, quiet: bool) -> int:
    """Reduce a bundled model, check it, and write the reduced SBML and an HTML page."""
    from sbmlump.report.model_page import write_outcome_page

    folder = output if output is not None else Path(tempfile.mkdtemp(prefix="sbmlump-demo-"))
    make_folder(folder)
    original, reduced = folder / _MODEL, folder / "reduced.xml"
    write_atomically(original, resources.files("sbmlump").joinpath("data_models", _MODEL).read_bytes())
    say("A protein with three sites, each free, phosphorylated, or bound to a kinase or a phosphatase:")
    say("64 configurations and the two enzymes. Which smaller model has exactly the same free kinase?\n")
    with progress_reporter(quiet) as progress:
        outcome = run_reduction(original, _OBSERVE, reduce_options(), reduced, force=True, progress=progress)
        assert outcome.reduction is not None
        page = write_outcome_page(folder, outcome, original_file=original)
    print_outcome(outcome, page)
    say("\nTry next:")
    say(f"  sbmlump inspect {original}")
    say(f"  sbmlump reduce {original} --observe phosphatase --keep-parameters all -o other.xml")
    say(f"  sbmlump verify {original} {reduced}")
    return 0
