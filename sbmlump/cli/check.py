"""``sbmlump check``: simulate both models and compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sbmlump.cli.options import MODEL, declared_options, fast_reactions_option, isolation_options, store_option
from sbmlump.cli.output import print_json, progress_reporter, say
from sbmlump.errors import Reason
from sbmlump.jobs import check, verdict
from sbmlump.methods.registry import OPTIONS
from sbmlump.model.reduced import ExactProof
from sbmlump.options import Declared, Option, number
from sbmlump.outcome import reason_json
from sbmlump.proof.files import verify

if TYPE_CHECKING:
    from sbmlump.simulators.comparison import ErrorReport

__all__ = ["check_command", "verify_command"]


_MAX_ERROR = Declared(
    "max_error", Option(number(0.0), "Exit 1 if the largest relative error is above R.", metavar="R"), None
)


@click.command("check")
@click.argument("original", type=MODEL)
@click.argument("reduced", type=MODEL)
@declared_options(*(OPTIONS[name] for name in ("until", "points", "simulator")), _MAX_ERROR)
@store_option
@fast_reactions_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@isolation_options
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def check_command(
    original: str | Path,
    reduced: str | Path,
    until: float | None,
    points: int,
    simulator: str,
    max_error: float | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Simulate ORIGINAL and REDUCED on one grid and report the errors of what they share."""
    with progress_reporter(quiet or as_json) as progress:
        progress("simulating both models")
        report = check(original, reduced, until=until, points=points, simulator=simulator)
    # written so that an error that is not a number counts as too large
    within = max_error is None or report.max_relative_error <= max_error
    if as_json:
        outcome = "within" if within else "above-max-error"
        print_json({"outcome": outcome, **report.as_json(), "reasons": _remarks(report)})
    else:
        say(f"until {report.until:g} ({report.horizon_reason})")
        width = max(len(name) for name in report.per_observable)
        say(f"{'quantity':<{width}}  max relative  at the end  max absolute")
        for name, error in report.per_observable.items():
            say(
                f"{name:<{width}}  {error.max_relative_error:>12.2e}  {error.final_relative_error:>10.2e}"
                f"  {error.max_absolute_error:>12.2e}"
            )
        for remark in report.remarks:
            say(remark, err=True)
        if not within:
            say(f"above the {max_error:g} that was asked for", err=True)
    return 0 if within else 1


def _remarks(report: ErrorReport) -> list[dict[str, Any]]:
    return [reason_json(Reason("simulation-remark", remark)) for remark in report.remarks]


# -- ``sbmlump verify``: prove ---------------------------------------------------------------------


@click.command("verify")
@click.argument("original", type=MODEL)
@click.argument("reduced", type=MODEL)
@declared_options(OPTIONS["seed"])
@store_option
@fast_reactions_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@isolation_options
@click.option("-q", "--quiet", is_flag=True, expose_value=False, help="No progress.")
def verify_command(original: str | Path, reduced: str | Path, seed: int, as_json: bool) -> int:
    """Prove or refute, without simulation, that REDUCED is an exact lumping of ORIGINAL."""
    result = verify(original, reduced, seed=seed)
    outcome = verdict(result)
    reasons = () if isinstance(result, ExactProof) else result.reasons
    if as_json:
        certificate = result.as_json() if isinstance(result, ExactProof) else None
        print_json({"outcome": outcome, "certificate": certificate, "reasons": [reason_json(r) for r in reasons]})
    else:
        say(outcome if not isinstance(result, ExactProof) else f"proved: {result.statement}")
        if isinstance(result, ExactProof):
            say(result.scope())
        if isinstance(result, ExactProof) and result.heuristic:
            say(f"note: {result.heuristic}")
        for reason in reasons:
            say(f"  {reason.message} [{reason.code}]")
    return 0 if outcome == "proved" else 1
