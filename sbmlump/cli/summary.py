"""A reduction told to a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from sbmlump.cli.output import DISPLAY, say
from sbmlump.errors import some_names
from sbmlump.model.reduced import ErrorEstimate, Lump
from sbmlump.model.text import combination
from sbmlump.outcome import Outcome

__all__ = ["lump_text", "summarise"]


def summarise(outcome: Outcome, page: Path | None = None) -> None:
    """Print what was done, how far the two models differ, and what to do next."""
    reduction = outcome.reduction
    assert reduction is not None
    before, after = reduction.original.size, reduction.system.size
    kept = ", ".join(o.id for o in reduction.observables) or "everything"
    if outcome.name == "reduced":
        say(f"{outcome.model.id}: {before} states reduced to {after}, keeping {kept}")
        _print_lumps(reduction.lumps)
        if reduction.vanished:
            say(f"  gone, without influence on what is kept: {_listed(reduction.vanished)}")
    else:
        say(f"{outcome.model.id}: {before} states, none could be removed while keeping {kept}")
    _print_certificate(outcome)
    _print_simulation(outcome)
    for reason in outcome.reasons:
        say(reason.message)
    if outcome.output:
        say(f"written to {outcome.output}")
    if page:
        say(f"page: {page}")


def _print_lumps(lumps: tuple[Lump, ...]) -> None:
    pools = [lump for lump in lumps if not lump.is_single]
    singles = [lump.id for lump in lumps if lump.is_single]
    for lump in pools[: DISPLAY.lumps]:
        say(f"  {lump.id} = {lump_text(lump)}")
    if len(pools) > DISPLAY.lumps:
        say(f"  … and {len(pools) - DISPLAY.lumps} more pools")
    if singles:
        say(f"  unchanged: {_listed(singles)}")


def _listed(names: Sequence[str]) -> str:
    return some_names(names, DISPLAY.lumps)


def lump_text(lump: Lump, most: int = DISPLAY.members) -> str:
    """``A + 2·B − C``, cut after a few members."""
    return combination(lump.members.items(), most, times="·", minus="−", number=_readable)


def _readable(value: Fraction) -> str:
    return str(value) if value.denominator <= DISPLAY.denominator else f"{float(value):.4g}"


def _print_certificate(outcome: Outcome) -> None:
    reduction = outcome.reduction
    assert reduction is not None
    proof = reduction.certificate
    if outcome.name != "reduced":
        return
    data = proof.as_json()
    if isinstance(proof, ErrorEstimate):
        say(
            f"measured on {proof.ensemble} initial values (±{100 * proof.spread:g} %) until {proof.horizon:g}: "
            f"worst relative error {proof.worst_error:.1e}, median {proof.median_error:.1e}"
        )
        for line in _how_approximated(proof.details):
            say(f"  {line}")
        return
    how = {
        "expansion": "by expanding both sides over the rationals",
        "identity-test": f"at random points modulo {len(data['primes'])} random primes "
        f"(chance of error below {data['failure_probability']:.0e})",
        "chain": "step by step",
    }.get(str(data["method"]), f"({data['method']})")
    say(f"proved exact {how}")
    say(f"  {proof.scope(DISPLAY.lumps)}")
    if data["heuristic"]:
        say(f"  note: {data['heuristic']}")


def _how_approximated(details: Mapping[str, Any]) -> list[str]:
    """What an approximate method did and why, from the details of its certificate."""
    lines: list[str] = []
    if details.get("chain"):
        steps = (f"{one['method']} {one['original_size']} -> {one['reduced_size']}" for one in details["chain"])
        lines.append("in turn: " + ", ".join(steps))
    if details.get("fast"):
        lines.append(f"taken for fast: {_listed(details['fast'])}")
    scales = details.get("time_scales")
    if scales:
        pointed = ", ".join(f"{name} {share:g}" for name, share in list(scales["pointers"].items())[: DISPLAY.members])
        lines.append(
            f"because: a gap of {scales['median_gap']:g} in the Jacobian's spectrum at {scales['points_with_gap']} of "
            f"{scales['points']} points of the run; shares in the fast modes: {pointed}"
        )
    if details.get("fast_reactions"):
        lines.append(f"at equilibrium: {_listed(['+'.join(ids) for ids in details['fast_reactions']])}")
    if details.get("near_equilibrium"):
        found = list(details["near_equilibrium"].items())[: DISPLAY.members]
        shares = ", ".join(f"{name} {share:g}" for name, share in found)
        lines.append(f"because: net flux as a share of the gross one along the run: {shares}")
    lines += [f"{name} = {text}" for name, text in list(details.get("solution", {}).items())[: DISPLAY.members]]
    lines += list(details.get("roots", {}).values())[: DISPLAY.members]
    if details.get("pruned_states"):
        told = f"pruned below {details['threshold']:.3g} ({details['weighting']}): {_listed(details['pruned_states'])}"
        lines.append(told)
    return lines


def _print_simulation(outcome: Outcome) -> None:
    report = outcome.report
    if report is None:
        return
    say(
        f"simulated until {report.until:g} ({report.horizon_reason}): "
        f"largest relative difference {report.max_relative_error:.1e}"
    )
