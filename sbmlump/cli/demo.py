"""``sbmlump demo``: a striking reduction of a bundled model."""

from __future__ import annotations

import tempfile
from importlib import resources
from pathlib import Path

import click

from sbmlump.cli.output import progress_reporter, say
from sbmlump.cli.summary import summarise
from sbmlump.files import make_folder, write_atomically
from sbmlump.jobs import reduce_options, run_reduction

__all__ = ["demo_command"]

_MODEL = "multisite_3.xml"
_OBSERVE = ("kinase",)


@click.command("demo")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder for the files; a new one if absent.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def demo_command(output: Path | None, quiet: bool) -> int:
    """Reduce a bundled model, check it, and write the reduced SBML and an HTML page."""
    from sbmlump.report.model_page import write_model_page

    folder = output if output is not None else Path(tempfile.mkdtemp(prefix="sbmlump-demo-"))
    make_folder(folder)
    original, reduced = folder / _MODEL, folder / "reduced.xml"
    write_atomically(original, resources.files("sbmlump").joinpath("data_models", _MODEL).read_bytes())
    say("A protein with three sites, each free, phosphorylated, or bound to a kinase or a phosphatase:")
    say("64 configurations and the two enzymes. Which smaller model has exactly the same free kinase?\n")
    with progress_reporter(quiet) as progress:
        outcome = run_reduction(original, _OBSERVE, reduce_options(), reduced, progress=progress)
        assert outcome.reduction is not None
        page = write_model_page(folder, outcome.reduction, outcome.report, original_file=original, reduced_file=reduced)
    summarise(outcome, page)
    say("\nTry next:")
    say(f"  sbmlump inspect {original}")
    say(f"  sbmlump reduce {original} --observe phosphatase --keep-parameters all -o other.xml")
    say(f"  sbmlump verify {original} {reduced}")
    return 0
