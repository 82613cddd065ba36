"""Rule-based models of the corpus, written anew as networks of BioNetGen: the sizes of their ``.ode`` files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

import sbmlump
from sbmlump.formats import parse_net
from sbmlump.methods import closure_problem, smallest_invariant_space
from sbmlump.model import parse_observables

_TERM = re.compile(r"(?:(\d+)\s*\*?\s*)?(\w+)")


def block(text: str, name: str) -> list[str]:
    """Lines of a block of an ``.ode`` file, without remarks and names in brackets."""
    found = re.search(rf"begin {name}\n(.*?)end {name}", text, re.DOTALL)
    lines = [] if found is None else found.group(1).splitlines()
    return [kept for line in lines if (kept := re.sub(r"\(.*|//.*", "", line).strip())]


def net_text(ode: str, groups: Sequence[Sequence[str]]) -> str:
    """The mass-action network of an ``.ode`` file as BioNetGen writes one; ``groups`` of species get names G1, G2, …

    A state that only stands in rates is a constant there: BioNetGen has parameters for those.
    """
    given = dict(re.split(r"\s*=\s*", line) if "=" in line else (line, "0") for line in block(ode, "init"))
    reactions = []
    for line in block(ode, "reactions"):
        sides, _, rate = line.partition(",")
        parts = [
            [name for count, name in _TERM.findall(side) for _ in range(int(count or 1))] for side in sides.split("->")
        ]
        reactions.append((*parts, rate.replace(" ", "")))
    reacting = dict.fromkeys(name for left, right, _ in reactions for name in (*left, *right))
    place = {name: str(i) for i, name in enumerate(reacting, 1)}
    constants = [re.split(r"\s*=\s*", line) for line in block(ode, "parameters")]
    constants += [[name, value] for name, value in given.items() if name not in reacting]

    def side(names: Sequence[str]) -> str:
        return ",".join(place[name] for name in names) or "0"

    blocks = {
        "parameters": [f"{i} {name} {value}" for i, (name, value) in enumerate(constants, 1)],
        "species": [f"{number} {name}() {given.get(name, '0')}" for name, number in place.items()],
        "reactions": [f"{i} {side(left)} {side(right)} {rate}" for i, (left, right, rate) in enumerate(reactions, 1)],
        "groups": [f"{i} G{i} {','.join(place[name] for name in group)}" for i, group in enumerate(groups, 1)],
    }
    return "\n".join(line for name, lines in blocks.items() for line in (f"begin {name}", *lines, f"end {name}"))


@pytest.mark.parametrize(
    ("file", "groups", "size"),
    [
        ("Barua.ode", (("aS000",),), 349),
        ("Barua.ode", (("aS027",),), 398),
        ("fceri_ji.ode", (("S0",),), 8),
        ("fceri_ji.ode", (("S2",), ("S178",), ("S267",), ("S77",)), 338),
        ("fceri_ji.ode", (("S2", "S178", "S267", "S77"),), 84),
        ("fceri_ji.ode", (("S7",),), 120),
        ("fceri_ji.ode", (("S1",),), 31),
    ],
)
def test_a_network_of_bionetgen_is_as_small_as_its_ode_file(
    corpus: Path, file: str, groups: tuple[tuple[str, ...], ...], size: int
) -> None:
    """Combinations of constants count, as in the published sizes: they are kept symbolic, all of them."""
    path = corpus / "ode" / file
    network = parse_net(net_text(path.read_text(encoding="utf-8"), groups), file=path.with_suffix(".net").name)
    found = []
    for system, names in (
        (network, [f"G{i}" for i in range(1, len(groups) + 1)]),
        (sbmlump.load(path), list(map(" + ".join, groups))),
    ):
        problem = closure_problem(
            system, parse_observables(system, names), frozenset(one.id for one in system.constants)
        )
        space, _, _ = smallest_invariant_space(problem)
        found.append(len(space.rows))
    assert found == [size, size]
