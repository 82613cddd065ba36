"""A reduction told to a person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from sbmlump.outcome import Outcome
from sbmlump.reduced import ErrorEstimate, Lump

__all__ = ["lump_text", "summarise"]

_MOST_LUMPS = 20
_MOST_MEMBERS = 6
_READABLE = 1000  # denominators beyond this are printed as decimals


def summarise(outcome: Outcome, page: Path | None = None) -> None:
    """Print what was done, how far the two models differ, and what to do next."""
    reduction = outcome.reduction
    assert reduction is not None
    before, after = reduction.original.size, reduction.system.size
    kept = ", ".join(o.id for o in reduction.observables) or "everything"
    if outcome.name == "reduced":
        click.echo(f"{outcome.model.id}: {before} states reduced to {after}, keeping {kept}")
        _print_lumps(reduction.lumps)
        if reduction.vanished:
            click.echo(f"  gone, without influence on what is kept: {_listed(reduction.vanished)}")
    else:
        click.echo(f"{outcome.model.id}: {before} states, none could be removed while keeping {kept}")
    _print_certificate(outcome)
    _print_simulation(outcome)
    for reason in outcome.reasons:
        click.echo(reason.message)
    if outcome.output:
        click.echo(f"written to {outcome.output}")
    if page:
        click.echo(f"page: {page}")


def _print_lumps(lumps: tuple[Lump, ...]) -> None:
    pools = [lump for lump in lumps if not lump.is_single]
    singles = [lump.id for lump in lumps if lump.is_single]
    for lump in pools[:_MOST_LUMPS]:
        click.echo(f"  {lump.id} = {lump_text(lump)}")
    if len(pools) > _MOST_LUMPS:
        click.echo(f"  … and {len(pools) - _MOST_LUMPS} more pools")
    if singles:
        click.echo(f"  unchanged: {_listed(singles)}")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_LUMPS])
    return f"{shown} and {len(names) - _MOST_LUMPS} more" if len(names) > _MOST_LUMPS else shown


def lump_text(lump: Lump, most: int = _MOST_MEMBERS) -> str:
    """``A + 2·B − C``, cut after a few members."""
    parts: list[str] = []
    for name, value in list(lump.members.items())[:most]:
        size = abs(value)
        factor = str(size) if size.denominator <= _READABLE else f"{float(size):.4g}"
        term = name if size == 1 else f"{factor}·{name}"
        sign = "−" if value < 0 else "+"
        parts.append((f"{sign} " if parts else ("−" if value < 0 else "")) + term)
    rest = len(lump.members) - most
    return " ".join(parts) + (f" + … ({rest} more)" if rest > 0 else "")


def _print_certificate(outcome: Outcome) -> None:
    reduction = outcome.reduction
    assert reduction is not None
    proof = reduction.certificate
    if outcome.name != "reduced":
        return
    data = proof.as_json()
    if isinstance(proof, ErrorEstimate):
        click.echo(
            f"measured on {proof.ensemble} other starts (±{100 * proof.spread:g} %) until {proof.horizon:g}: "
            f"worst relative error {proof.worst_error:.1e}, median {proof.median_error:.1e}"
        )
        return
    how = {
        "expansion": "by expanding both sides over the rationals",
        "identity-test": f"at random points modulo {len(data['primes'])} random primes "
        f"(chance of error below {data['failure_probability']:.0e})",
        "chain": "step by step",
    }.get(str(data["method"]), f"({data['method']})")
    click.echo(f"proved exact {how}")
    if data["heuristic"]:
        click.echo(f"  note: {data['heuristic']}")


def _print_simulation(outcome: Outcome) -> None:
    report = outcome.report
    if report is None:
        return
    click.echo(
        f"simulated until {report.until:g} ({report.horizon_reason}): "
        f"largest relative difference {report.max_relative_error:.1e}"
    )
