"""``sbmlump verify``: prove or refute a reduction without simulating."""

from __future__ import annotations

from pathlib import Path

import click

from sbmlump.cli.child import isolation_options
from sbmlump.cli.options import declared_options
from sbmlump.cli.output import print_json, say
from sbmlump.jobs import OPTIONS, verdict, verify
from sbmlump.model.reduced import ExactProof
from sbmlump.outcome import reason_json

__all__ = ["verify_command"]


@click.command("verify")
@click.argument("original", type=click.Path(path_type=Path))
@click.argument("reduced", type=click.Path(path_type=Path))
@declared_options(OPTIONS["seed"])
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@isolation_options
@click.option("-q", "--quiet", is_flag=True, expose_value=False, help="No progress.")
def verify_command(original: Path, reduced: Path, seed: int, as_json: bool) -> int:
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
