"""Networks of BioNetGen: rates as its ODEs have them, exactly; what is not read is refused with its line."""

from __future__ import annotations

import bz2
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from strategies import mass_action_networks

import sbmlump
from sbmlump.errors import InputError
from sbmlump.formats import parse_net
from sbmlump.model import OdeSystem

NET = """\
# Created by BioNetGen
begin parameters
    1 A0   100  # Constant
    2 kp   0.01
    3 km   0.1
    4 kcat 2*km # ConstantExpression
    5 Kh   5
end parameters
begin functions
    1 act() kcat/(Kh + Bound)
    2 twice() 2*act()
end functions
begin species
    1 A(b,p~u) A0
    2 B(a) 50
    3 A(b!1,p~u).B(a!1) 0
    4 A(b,p~p) 1/3
    5 $Src() 3
end species
begin reactions
    1 1,2 3 kp #r1
    2 3 1,2 km #r2
    3 3 2,4 twice #r3
    4 4,4 1,1 0.5*kp
    5 5 1,5 km
    6 4 0 2*km
    7 0 2 A0
end reactions
begin groups
    1 Bound  3
    2 Atot   1,3,4
    3 Twice  2*4,3
    4 Nothing
end groups
"""


def net_text(system: OdeSystem) -> str:
    """A mass-action network as BioNetGen writes one."""
    place = {name: str(i) for i, name in enumerate(system.states, 1)}
    species = [f"{place[name]} {name}() {value}" for name, value in zip(system.states, numbers(system), strict=True)]
    ones = {system.graph.symbol(name): system.graph.number(1) for name in system.states}
    constants = system.graph.substitute([r.flux for r in system.reactions], {**system.specialised(), **ones})

    def side(parts):
        counts = [place[p.species] for p in parts for _ in range(int(system.graph.number_of(p.stoichiometry)))]
        return ",".join(counts) or "0"

    reactions = [
        f"{i} {side(r.reactants)} {side(r.products)} {system.graph.number_of(k)}"
        for i, (r, k) in enumerate(zip(system.reactions, constants, strict=True), 1)
    ]
    blocks = {"species": species, "reactions": reactions}
    return "\n".join(line for name, lines in blocks.items() for line in (f"begin {name}", *lines, f"end {name}"))


def numbers(system: OdeSystem) -> list[Fraction | None]:
    return [system.graph.number_of(node) for node in system.graph.substitute(system.initial, system.specialised())]


def test_rates_are_those_of_its_odes() -> None:
    system = parse_net(NET, file="t.net")
    assert system.states == ("S1", "S2", "S3", "S4")
    np.testing.assert_allclose(system.initial_state(), [100, 50, 0, 1 / 3])
    a, b, c, d = x = np.array([2.0, 3.0, 5.0, 7.0])
    bind, free, act = 0.01 * a * b, 0.1 * c, 2 * 0.2 / (5 + c) * c
    turn, make, lose = 0.5 * 0.01 * d * d, 0.1 * 3, 2 * 0.1 * d
    expected = [-bind + free + 2 * turn + make, -bind + free + act + 100, bind - free - act, act - 2 * turn - lose]
    np.testing.assert_allclose(system.rates(0.0, x), expected, rtol=1e-14)
    groups = {one.id: one.value for one in system.assigned}
    point = {system.graph.symbol(n): system.graph.number(int(v)) for n, v in zip(system.states, x, strict=True)}
    found = system.graph.substitute([groups[name] for name in ("Bound", "Atot", "Twice", "Nothing")], point)
    assert [system.graph.number_of(node) for node in found] == [5, 14, 19, 0]
    assert system.quantities["S3"].name == "A(b!1,p~u).B(a!1)"
    assert system.origin.remarks[0].code == "deterministic-rates"


@given(mass_action_networks())
def test_networks_come_back(system: OdeSystem) -> None:
    assume(system.reactions)
    again = parse_net(net_text(system))
    x = np.random.default_rng(0).uniform(0.5, 2.0, (4, system.size))
    moved = {name: i for i, name in enumerate(system.states)}
    changed = [moved[again.quantities[id].name.removesuffix("()")] for id in again.states]
    np.testing.assert_allclose(
        again.rates(0.0, x[:, changed]), system.rates(0.0, x)[:, changed], rtol=1e-12, atol=1e-12
    )
    assert numbers(again) == [numbers(system)[i] for i in changed]


def test_a_rule_based_model_reduces_as_its_other_forms_do(data: Path, tmp_path: Path) -> None:
    system = sbmlump.load(data / "multisite_2.xml")
    path = tmp_path / "sites.net.bz2"
    path.write_bytes(bz2.compress(net_text(system).encode()))
    read = sbmlump.load(path)
    assert read.size == system.size
    index = system.states.index("kinase") + 1
    assert sbmlump.reduce(read, f"S{index}").system.size == sbmlump.reduce(system, "kinase").system.size


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("1,2 3 kp", "1,2 3 nosuch", "net-unknown-name"),
        ("1,2 3 kp", "1,9 3 kp", "net-unknown-name"),
        ("1,2 3 kp", "1,2 3", "net-syntax"),
        ("1,2 3 kp", "1,2 3 MM kp km", "net-rate-law"),
        ("1,2 3 kp", "1,2 3 Sat kp km", "net-rate-law"),
        ("1,2 3 kp", "1,2 3 kp TotalRate", "net-rate-law"),
        ("2*km #", "log(km) #", "net-unknown-function"),
        ("2*km #", "if(km>1,2,3) #", "net-unknown-function"),
        ("act() kcat", "act(x) kcat", "net-rate-law"),
        ("3 km   0.1", "3 kp   0.1", "net-duplicate-name"),
        ("2 B(a) 50", "3 B(a) 50", "net-syntax"),
        ("end species", "end reactions", "net-syntax"),
        ("begin groups", "begin energy patterns", "net-block"),
        ("1 Bound  3", "1 Bound  3,x*2", "net-syntax"),
        ("1 Bound  3", "1 A0  3", "net-duplicate-name"),
    ],
)
def test_what_is_not_read_is_refused_with_its_line(old: str, new: str, code: str) -> None:
    line = NET[: NET.index(old)].count("\n") + 1
    with pytest.raises(InputError) as caught:
        parse_net(NET.replace(old, new, 1), file="t.net")
    (reason,) = caught.value.reasons
    assert (reason.code, reason.line) == (code, line), reason
    assert reason.message.startswith(f"t.net, line {line}: ")


def test_a_text_without_a_network_is_refused() -> None:
    with pytest.raises(InputError, match="no blocks of species and reactions"):
        parse_net("begin parameters\nend parameters\n")
