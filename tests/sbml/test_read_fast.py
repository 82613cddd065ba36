"""Fast reactions at equilibrium against the same reactions made very fast: two ways to one trajectory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sbml.read_models import (
    assignment,
    compartment,
    event,
    listed,
    math,
    parameter,
    reaction,
    read_text,
    rule,
    sbml,
    species,
)

import sbmlump
from sbmlump import UnsupportedModelError, UsageError
from sbmlump.cli import run
from sbmlump.dynamics import trajectories
from sbmlump.model import Evaluator, OdeSystem
from sbmlump.options import fast_reactions_as
from sbmlump.sbml import parse_sbml, write_system


@dataclass(frozen=True)
class Model:
    """What a model has beside a compartment ``c`` and what its reactions need; ``k`` is how fast the fast ones are."""

    values: Mapping[str, float]
    fast: Sequence[tuple[str, str, str]]
    slow: Sequence[tuple[str, str, str]] = ()
    parameters: Mapping[str, float] = field(default_factory=dict)
    others: str = ""
    compartments: str = compartment()
    rules: str = ""
    events: str = ""
    initial: str = ""
    attributes: str = ""
    more: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    until: float = 3.0
    speed: float = 1e6
    within: float = 3e-5

    def text(self, speed: float = 1.0) -> str:
        """The model in SBML Level 3 Version 1."""
        reactions = [
            reaction(f"f{i}", *one).replace('reversible="false"', 'reversible="true" fast="true"')
            for i, one in enumerate(self.fast)
        ]
        reactions += [
            reaction(f"s{i}", *one).replace('reversible="false"', 'reversible="false" fast="false"')
            for i, one in enumerate(self.slow)
        ]
        body = self.compartments
        found = [species(n, f'initialConcentration="{v}"', **self.more.get(n, {})) for n, v in self.values.items()]
        constants = [parameter(n, f"{v}") for n, v in {"k": speed, **self.parameters}.items()]
        body = listed("Compartments", body) + listed("Species", *found)
        body += listed("Parameters", *constants, self.others)
        parts = {"InitialAssignments": self.initial, "Rules": self.rules, "Reactions": "".join(reactions)}
        body += "".join(listed(kind, text) for kind, text in {**parts, "Events": self.events}.items() if text)
        return sbml(body, version=1, model=f'id="m" {self.attributes}')


MODELS = {
    "exchange, fed and drained": Model(
        {"A": 1, "B": 0.2, "C": 0}, [("A", "B", "c*k*(A - 0.5*B)")], [("B", "C", "c*B"), ("", "A", "c*0.3")]
    ),
    "binding, and a product of it": Model(
        {"E": 1, "S": 2, "ES": 0, "P": 0},
        [("E S", "ES", "c*k*(E*S - 0.5*ES)")],
        [("ES", "E P", "c*0.7*ES")],
    ),
    "irreversible: the scarcer one is used up, and which it is changes": Model(
        {"A": 1, "B": 2, "C": 0},
        [("A B", "C", "c*k*A*B")],
        [("", "A", "c*1.5"), ("C", "", "c*0.1*C")],
        within=2e-3,  # where both are nearly used up, sqrt(1.5/k) of each is left
    ),
    "three in a row": Model(
        {"A": 1, "B": 0, "C": 0.5},
        [("A", "B", "c*k*(A - 2*B)"), ("B", "C", "c*k*(3*B - C)")],
        [("C", "", "c*0.4*C")],
    ),
    "two opposite ones": Model(
        {"A": 1, "B": 0}, [("A", "B", "c*k*A"), ("B", "A", "c*k*3*B")], [("B", "", "c*B"), ("", "A", "c*0.1")]
    ),
    "dimers": Model({"A": 3, "D": 0}, [("2*A", "D", "c*k*(A^2 - 2*D)")], [("D", "", "c*0.5*D"), ("", "A", "c*0.2")]),
    "transport between compartments": Model(
        {"A": 1, "B": 0},
        [("A", "B", "k*(A - B)")],
        [("B", "", "d*0.5*B")],
        compartments=compartment() + compartment("d", "0.25"),
        more={"B": {"where": "d"}},
    ),
    "conversion factors": Model(
        {"A": 1, "B": 0},
        [("A", "B", "c*k*(A - 0.5*B)")],
        [("B", "", "c*0.1*B")],
        {"two": 2.0, "three": 3.0},
        more={"B": {"more": 'conversionFactor="three"'}},
        attributes='conversionFactor="two"',
    ),
    "a compartment that grows": Model(
        {"A": 1, "B": 1, "AB": 0},
        [("A B", "AB", "c*k*(A*B - 0.3*AB)")],
        [("AB", "A", "c*0.2*AB")],
        compartments=compartment(constant=False),
        rules=rule("rateRule", "c", "0.2*c"),
    ),
    "an event doses, another changes the equilibrium": Model(
        {"E": 1, "S": 2, "ES": 0},
        [("E S", "ES", "c*k*(E*S - q*ES)")],
        [("ES", "E", "c*0.5*ES")],
        others=parameter("q", "0.5", constant=False),
        events=event("time > 1", {"S": "S + 3"}) + event("time > 2", {"q": "3"}).replace('id="e"', 'id="e2"'),
    ),
    "a compartment whose size is a formula of time": Model(
        {"A": 2, "B": 0, "C": 0},
        [("A", "B", "c*k*(A - B)")],
        [("B", "C", "c*B")],
        compartments=compartment(constant=False),
        rules=rule("assignmentRule", "c", "2 + time"),
    ),
    "an event doubles the compartment": Model(
        {"A": 1, "B": 1, "AB": 0},
        [("A B", "AB", "c*k*(A*B - 0.3*AB)")],
        [("AB", "A", "c*0.2*AB")],
        compartments=compartment(constant=False),
        events=event("time > 1", {"c": "2*c"}),
    ),
    "rate constants that change with time": Model(
        {"A": 1, "B": 0}, [("A", "B", "c*k*(A*(2 + sin(time)) - B)")], [("B", "", "c*0.2*B")]
    ),
    "a switch of direction": Model(
        {"A": 1, "B": 0},
        [("A", "B", "piecewise(c*k*A, time < 1.5, -c*k*B)")],
        [("B", "", "c*0.2*B")],
        speed=1e4,
        within=1e-4,
    ),
    "switched on by an event, off by another": Model(
        {"A": 1, "B": 0.5},
        [("A", "B", "on*c*k*(A - 0.5*B)")],
        [("B", "", "c*0.2*B"), ("", "A", "c*0.3")],
        others=parameter("on", "0", constant=False),
        events=event("time > 1", {"on": "1"}) + event("time > 2", {"on": "0", "A": "A + 1"}).replace('"e"', '"e2"'),
    ),
    "initial values that follow from others": Model(
        {"A": 1, "B": 0, "C": 0},
        [("A", "B", "c*k*(A - 0.5*B)")],
        [("B", "C", "c*q*B")],
        others=parameter("q", "1"),
        initial=assignment("B", "2*A") + assignment("q", "A + B"),
    ),
}


def values_along(system: OdeSystem, names: Sequence[str], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of some ids along the trajectory from the initial values, shape (times, names)."""
    states = trajectories(system, system.initial_state()[None, :], times, relative=1e-7)[0]
    assert np.isfinite(states).all()
    nodes = [system.definitions[name] for name in names]
    return Evaluator(system.graph, nodes, system.states, system.constant_values).values(times, states)


@pytest.mark.parametrize("name", MODELS)
def test_it_is_the_limit_of_ever_faster_reactions(name: str, tmp_path: Path) -> None:
    model = MODELS[name]
    path = tmp_path / "m.xml"
    path.write_text(model.text())
    held = sbmlump.load(path, fast_reactions="equilibrium")
    path.write_text(model.text(model.speed))
    made_fast = sbmlump.load(path, fast_reactions="ordinary")
    times = np.concatenate([[0.0], np.linspace(0.05, model.until, 15)])
    slowly, limit = values_along(made_fast, list(model.values), times), values_along(held, list(model.values), times)
    assert np.allclose(limit[1:], slowly[1:], rtol=1e-4, atol=model.within)


@pytest.mark.parametrize("name", MODELS)
def test_what_is_written_has_no_fast_reactions_and_is_the_same(name: str, tmp_path: Path) -> None:
    model = MODELS[name]
    path = tmp_path / "m.xml"
    path.write_text(model.text())
    held = sbmlump.load(path, fast_reactions="equilibrium")
    text = write_system(held)
    assert b'fast="true"' not in text
    times = np.linspace(0, model.until, 11)
    assert np.allclose(
        values_along(held, list(model.values), times),
        values_along(parse_sbml(text), list(model.values), times),
        rtol=1e-5,
    )


CHAIN = MODELS["exchange, fed and drained"]


def test_as_ordinary_ones_they_are_what_the_file_says_of_others(tmp_path: Path) -> None:
    path = tmp_path / "m.xml"
    path.write_text(CHAIN.text())
    taken = sbmlump.load(path, fast_reactions="ordinary")
    path.write_text(CHAIN.text().replace('fast="true"', 'fast="false"'))
    plain = sbmlump.load(path)
    assert taken.states == plain.states == ("A", "B", "C")
    assert np.array_equal(taken.rates(0.0, [1.0, 2.0, 3.0]), plain.rates(0.0, [1.0, 2.0, 3.0]))
    assert [remark.code for remark in taken.origin.remarks] == ["fast-as-ordinary"]
    with pytest.raises(UsageError, match="refuse, equilibrium, ordinary"):
        sbmlump.load(path, fast_reactions="slow")


def test_the_choice_holds_for_one_call_only(tmp_path: Path) -> None:
    path = tmp_path / "m.xml"
    path.write_text(CHAIN.text())
    assert sbmlump.load(path, fast_reactions="equilibrium").states == ("C", "pool_A_B")
    with pytest.raises(UnsupportedModelError, match="--fast-reactions equilibrium"):
        sbmlump.load(path)


@pytest.mark.parametrize(
    ("model", "code", "says"),
    [
        (Model({"A": 1, "B": 1}, [("A", "B", "c*k")]), "no-fast-equilibrium", "never comes to an end"),
        (Model({"A": 1, "B": 1}, [("A", "B", "c*k*(exp(A) - B)")]), "no-fast-equilibrium", "inside a function"),
        (Model({"A": 1, "B": 1}, [("3*A", "2*B", "c*k*(A^3 - B^2)")]), "no-fast-equilibrium", "degree 3"),
        (Model({"A": 1, "B": 1}, [("A", "2*A", "c*k*A*B")]), "no-fast-equilibrium", "come to no end"),
        (
            Model({"A": 1, "B": 1}, [("A", "B", "c*k*A")], others=parameter("q", "0", constant=False),
                  rules=rule("assignmentRule", "q", "2*f0")),
            "no-fast-equilibrium", "'f0' is in a formula",
        ),
        (
            Model({"A": 1, "B": 1}, [("A", "B", "piecewise(c*k*(A - B), time < 1, 0)")], [("B", "", "c*B")]),
            "no-fast-equilibrium", "never comes to an end",
        ),
        (
            Model({"A": 1, "B": 0.2}, [("A", "B", "c*k*floor(1/(1 + time))*(A - B)")], [("B", "", "c*B")]),
            "no-fast-equilibrium", "",
        ),
        (
            Model(
                {"A": 1, "B": 1}, [("A", "B", "c*k*(A - B)")], [("B", "", "c*B")],
                events=event("A < 0.5", {"A": "A + 1"}, more=f"<delay>{math('0.5')}</delay>"),
            ),
            "event-not-lumpable", "of its trigger",
        ),
    ],
)  # fmt: skip
def test_what_has_no_closed_form_is_refused(model: Model, code: str, says: str, tmp_path: Path) -> None:
    with fast_reactions_as("equilibrium"):
        result = read_text(tmp_path, model.text())
    assert result.system is None
    assert [reason.code for reason in result.reasons] == [code]
    assert says in result.reasons[0].message


@pytest.mark.parametrize(("drained", "readable"), [(False, True), (True, False)])
def test_the_past_of_a_species_is_known_where_only_time_0_changes_it(
    drained: bool, readable: bool, tmp_path: Path
) -> None:
    model = Model(
        {"A": 2, "B": 1},
        [("A", "B", "c*k*(A - 0.5*B)")],
        [("B", "", "c*B")] if drained else [],
        others=parameter("q", "0", constant=False),
        rules=rule("assignmentRule", "q", "delay(A, 1.5)"),
    )
    with fast_reactions_as("equilibrium"):
        result = read_text(tmp_path, model.text())
    if not readable:
        assert [reason.code for reason in result.reasons] == ["delay"]
        return
    system = result.required()
    times = np.array([0.0, 1.0, 2.0, 3.0])
    assert values_along(system, ["A", "q"], times).tolist() == [[1.0, 2.0], [1.0, 2.0], [1.0, 1.0], [1.0, 1.0]]


def test_commands_take_the_choice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def command(*arguments: str) -> tuple[int, str]:
        code = run([*arguments, "-q"])
        return code, capsys.readouterr().out

    path, reduced = tmp_path / "m.xml", tmp_path / "r.xml"
    path.write_text(CHAIN.text())
    at_equilibrium = ["--fast-reactions", "equilibrium"]
    assert command("reduce", str(path), "--observe", "B", "-o", str(reduced), "--json")[0] == 1
    code, out = command("reduce", str(path), "--observe", "B", "-o", str(reduced), "--json", *at_equilibrium)
    found = json.loads(out)
    assert (code, found["outcome"], found["original_size"], found["reduced_size"]) == (0, "reduced", 2, 1)
    assert found["simulation"]["max_relative_error"] < 1e-6
    assert "fast-at-equilibrium" in [reason["code"] for reason in found["reasons"]]
    assert command("verify", str(path), str(reduced), *at_equilibrium)[0] == 0
    assert command("check", str(path), str(reduced), "--max-error", "1e-6", *at_equilibrium)[0] == 0
    assert command("inspect", str(path), *at_equilibrium)[0] == 0
    assert command("convert", str(path), "-o", str(tmp_path / "c.ode"), *at_equilibrium)[0] == 0
    assert isinstance(sbmlump.verify(path, reduced, fast_reactions="equilibrium"), sbmlump.ExactProof)
