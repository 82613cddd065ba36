"""Small SBML texts for the tests of simulation, with known solutions."""

from __future__ import annotations

import math

from sbml import read_models
from sbml.read_models import MATHML, compartment, listed, sbml, side

_TIME = '<csymbol encoding="text" definitionURL="http://www.sbml.org/sbml/symbols/time"> t </csymbol>'


def math_of(inner: str) -> str:
    return f"<math {MATHML}>{inner}</math>"


def times(*items: str) -> str:
    return "<apply><times/>" + "".join(f"<ci>{item}</ci>" for item in items) + "</apply>"


def species(name: str, value: float, *, amount: bool = False, boundary: bool = False) -> str:
    given = f'initialAmount="{value}"' if amount else f'initialConcentration="{value}"'
    return read_models.species(name, given, amounts=amount, boundary=boundary)


def parameter(name: str, value: float | None = None, *, constant: bool = False) -> str:
    return read_models.parameter(name, None if value is None else str(value), constant=constant)


def rate_rule(name: str, inner: str) -> str:
    return f'<rateRule variable="{name}">{math_of(inner)}</rateRule>'


def assignment(name: str, inner: str) -> str:
    return f'<assignmentRule variable="{name}">{math_of(inner)}</assignmentRule>'


def reaction(name: str, source: str, target: str, inner: str) -> str:
    sides = side("Reactants", source) + side("Products", target)
    return f'<reaction id="{name}" reversible="false">{sides}<kineticLaw>{math_of(inner)}</kineticLaw></reaction>'


VOLUME, A0, B0, K1, K2 = 2.0, 3.0, 1.0, 0.5, 0.2


def chain(*, amounts: bool = False, k1: float = K1) -> str:
    """A → B → C by mass action in a compartment of size 2; concentrations, or amounts under the same ids."""

    def flux(k: str, s: str) -> str:
        return times(k, s) if amounts else times(k, s, "c")

    factor = VOLUME if amounts else 1.0
    return sbml(
        listed("Compartments", compartment("c", str(VOLUME)))
        + listed("Species", *(species(n, v * factor, amount=amounts) for n, v in (("A", A0), ("B", B0), ("C", 0.0))))
        + listed(
            "Parameters", parameter("k1", k1, constant=True), parameter("k2", K2, constant=True), parameter("total")
        )
        + listed("Rules", assignment("total", "<apply><plus/><ci>A</ci><ci>B</ci></apply>"))
        + listed("Reactions", reaction("r1", "A", "B", flux("k1", "A")), reaction("r2", "B", "C", flux("k2", "B")))
    )


def a_of(t: float) -> float:
    return A0 * math.exp(-K1 * t)


def b_of(t: float) -> float:
    return (B0 - A0 * K1 / (K2 - K1)) * math.exp(-K2 * t) + A0 * K1 / (K2 - K1) * math.exp(-K1 * t)


def ode(*equations: tuple[str, float, str], extra: str = "", more_rules: str = "") -> str:
    """Parameters with rate rules only: (id, initial value, MathML of the rate)."""
    return sbml(
        listed("Parameters", *(parameter(name, value) for name, value, _ in equations), extra)
        + listed("Rules", *(rate_rule(name, inner) for name, _, inner in equations), more_rules)
    )


def number(value: float) -> str:
    return f"<cn> {value!r} </cn>"


def scaled(factor: float, name: str) -> str:
    return f"<apply><times/>{number(factor)}<ci>{name}</ci></apply>"


def jump_at(moment: float) -> str:
    """x' = 1 until ``moment``, 3 after it."""
    inner = (
        f"<piecewise><piece>{number(3.0)}<apply><gt/>{_TIME}{number(moment)}</apply></piece>"
        f"<otherwise>{number(1.0)}</otherwise></piecewise>"
    )
    return ode(("x", 0.0, inner))


def event_at(moment: float) -> str:
    """x' = 1, and an event that sets the parameter p from 1 to 7."""
    trigger = f"<apply><gt/>{_TIME}{number(moment)}</apply>"
    return ode(("x", 0.0, number(1.0)), extra=parameter("p", 1.0)).replace(
        "</model>",
        '<listOfEvents><event id="e" useValuesFromTriggerTime="true">'
        f'<trigger initialValue="true" persistent="true">{math_of(trigger)}</trigger>'
        f'<listOfEventAssignments><eventAssignment variable="p">{math_of(number(7.0))}</eventAssignment>'
        "</listOfEventAssignments></event></listOfEvents></model>",
    )
