"""Systems that the tests of the writer share, built by hand."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from sbmlump.model import (
    Assigned,
    Constant,
    Event,
    ExactProof,
    Graph,
    LinearLumping,
    Lump,
    LumpingMatrix,
    Observable,
    OdeSystem,
    Origin,
    Participant,
    Quantity,
    Reaction,
    ReducedSystem,
    Unit,
    UnitDefinition,
)

CREATOR = '<annotation><c:by xmlns:c="http://example.org/creator">somebody</c:by></annotation>'
NOTES = '<notes>\n  <body xmlns="http://www.w3.org/1999/xhtml"><p>From a paper.</p></body>\n</notes>'


def chain(**changes: Any) -> OdeSystem:
    """A → B → C in a cell of size 3/2, C in amounts, and a parameter p with a rate rule of its own."""
    graph = Graph()
    number, symbol = graph.number, graph.symbol
    k1, k2, cell, a, b, p = (symbol(name) for name in ("k1", "k2", "cell", "A", "B", "p"))
    first, second = graph.mul((k1, a, cell)), graph.mul((k2, b, cell))
    fields: dict[str, Any] = {
        "graph": graph,
        "states": ("A", "B", "C", "p"),
        "initial": (number(10), graph.div(number(Fraction(1, 4)), cell), graph.mul((number(2), cell)), number(0)),
        "rhs": (
            graph.div(graph.neg(first), cell),
            graph.div(graph.sub(first, second), cell),
            second,
            graph.sub(graph.mul((number(Fraction(1, 7)), a)), p),
        ),
        "constants": (
            Constant("k1", graph.decimal(0.1 + 0.2)),
            Constant("k2", number(Fraction(2, 3))),
            Constant("cell", number(Fraction(3, 2))),
        ),
        "assigned": (Assigned("total", graph.add((a, b, graph.mul((number(-2), p))))),),
        "reactions": (
            Reaction("r1", first, (Participant("A", number(1)),), (Participant("B", number(1)),), name="one <&>"),
            Reaction("r2", second, (Participant("B", number(1)),), (Participant("C", number(1)),), reversible=False),
        ),
        "id": "chain",
        "name": "A chain",
        "quantities": {
            "cell": Quantity("cell", "compartment", spatial_dimensions=3.0, units="litre", written_constant=True),
            "A": Quantity("A", "species", compartment="cell", name="the first", units="mole", sbo="SBO:0000247"),
            "B": Quantity("B", "species", compartment="cell", given_as_amount=True, metaid="m1", annotation=CREATOR),
            "C": Quantity("C", "species", compartment="cell", amount=True),
            "k1": Quantity("k1", "parameter", units="per_second", written_constant=True),
            "k2": Quantity("k2", "local-parameter", name="k", written_constant=True),
            "p": Quantity("p", "parameter"),
            "total": Quantity("total", "parameter"),
        },
        "origin": Origin(
            file="folder/chain.xml",
            sha256="0" * 64,
            model_units={"substance": "mole", "time": "second", "volume": "litre", "extent": "mole"},
            unit_definitions=(UnitDefinition("per_second", (Unit("second", -1.0),)),),
            notes=NOTES,
        ),
    }
    graph_changes = {key: value(graph) if callable(value) else value for key, value in changes.items()}
    return OdeSystem(**(fields | graph_changes))


def jump(graph: Graph) -> tuple[Event, ...]:
    """A is doubled when time passes 5."""
    doubled = graph.mul((graph.number(2), graph.symbol("A")))
    trigger = graph.call("gt", (graph.time(), graph.number(5)))
    return (Event(trigger, (("A", doubled),), id="jump", priority=graph.number(1), persistent=False),)


def reduced_chain() -> ReducedSystem:
    """A + B + (2/3) C of :func:`chain` in amounts is constant; T = A + B and C are kept."""
    original = chain()
    graph = original.graph
    k2, total = graph.symbol("k2"), graph.symbol("T")
    system = OdeSystem(
        graph=graph,
        states=("T", "C"),
        initial=(graph.number(Fraction(61, 6)), graph.number(3)),
        rhs=(graph.neg(graph.mul((k2, total))), graph.mul((k2, graph.symbol("cell"), total))),
        constants=original.constants,
        assigned=(Assigned("half", graph.mul((graph.number(Fraction(1, 2)), total))), Assigned("B", total)),
        id="chain_reduced",
    )
    columns = {name: index for index, name in enumerate(original.states)}
    lumps = (Lump("T", {"A": Fraction(1), "B": Fraction(-2, 3)}), Lump("C", {"C": Fraction(1)}))
    rows = tuple({columns[name]: value for name, value in lump.members.items()} for lump in lumps)
    return ReducedSystem(
        original,
        system,
        (Observable("half", graph.mul((graph.number(Fraction(1, 2)), graph.symbol("A"))), "1/2*A & more"),),
        lumps,
        LinearLumping(LumpingMatrix(original.states, rows), LumpingMatrix(original.states, rows)),
        ExactProof("the lumped right-hand side is a function of the lumps", "expansion", 0.0, valid_for={"k2": "2/3"}),
        "exact",
    )
