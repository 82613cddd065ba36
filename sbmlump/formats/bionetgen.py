"""Reaction networks of BioNetGen (``.net``), as rule-based models become them.

Read are parameters, functions, species, reactions with elementary or functional rates, and groups. Rates are those of
BioNetGen's own ODEs: the rate (a constant with its statistical factor, or a function) times every reactant, as often as
it stands there. What is not read is refused by its name and line.

References
----------
Faeder, Blinov, Hlavacek, Methods in Molecular Biology 500 (2009), doi 10.1007/978-1-59745-525-1_5 (BioNetGen).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

from sbmlump.errors import InputError, Reason
from sbmlump.files import ModelFile
from sbmlump.model.graph import Graph, Node
from sbmlump.model.names import claim_id
from sbmlump.model.system import Assigned, Constant, OdeSystem, Origin, Participant, Quantity, Reaction
from sbmlump.model.text import ExpressionError, parse_expression

__all__ = ["load_net_file", "parse_net"]

_FUNCTIONS: Final = frozenset(
    "exp ln log10 log2 sqrt abs sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh min max".split()
)
"""What may stand before a parenthesis. Not ``log``: it is ln in one version of BioNetGen's parser, log10 in another."""
_RATE_LAWS: Final = frozenset({"MM", "Sat", "Hill", "Arrhenius", "FunctionProduct"})
_READ: Final = frozenset({"parameters", "functions", "species", "reactions", "groups"})
_PASSED_OVER: Final = frozenset({"molecule types", "observables", "reaction rules", "seed species", "model"})
"""Blocks about the rules, of which the network has been made."""
_CALL: Final = re.compile(r"([A-Za-z_]\w*)\s*\(")
_NO_ARGUMENTS: Final = re.compile(r"\b([A-Za-z_]\w*)\s*\(\s*\)")
_NAME: Final = re.compile(r"[A-Za-z_]\w*\Z")
_BEGIN: Final = re.compile(r"(begin|end)\s+([A-Za-z ]+?)\s*\Z")
_STOCHASTIC: Final = (
    "rates are those of BioNetGen's ODEs; a reduction of these equations says nothing of a stochastic simulation of "
    "the same network"
)


@dataclass(slots=True)
class _Block:
    """Lines of one block: number and words without comment."""

    lines: list[tuple[int, str]] = field(default_factory=list)


def load_net_file(file: ModelFile) -> OdeSystem:
    """The system in a ``.net`` file that has been read; see :func:`parse_net`."""
    text = file.data.decode("utf-8", "replace")
    return parse_net(text, file=file.name, sha256=hashlib.sha256(file.data).hexdigest())


def parse_net(text: str, *, file: str = "text", sha256: str | None = None) -> OdeSystem:
    """The system that a ``.net`` text describes.

    Returns
    -------
    OdeSystem
        Species are S1, S2, … (amounts), with their patterns as names; those that stay fixed (``$``) are constants.
        Groups and functions are assigned quantities.

    Raises
    ------
    InputError
        Codes ``net-syntax``, ``net-unknown-name``, ``net-unknown-function``, ``net-rate-law``, ``net-block``,
        ``net-duplicate-name``, each with file and line.
    """
    return _NetReading(text, file).system(sha256)


class _NetReading:
    """One text on its way to a system."""

    def __init__(self, text: str, file: str) -> None:
        self._file = file
        self._blocks = self._split(text)
        self._graph = Graph()
        self._definitions: dict[str, Node] = {
            "time": self._graph.time(),
            "_pi": self._graph.constant("pi"),
            "_e": self._graph.constant("exponentiale"),
        }
        self._expressions: dict[str, Node] = {}
        self._taken: set[str] = set()
        self._constants: list[Constant] = []
        self._quantities: dict[str, Quantity] = {}

    def system(self, sha256: str | None) -> OdeSystem:
        """Everything in turn: what is named has to be named before."""
        graph = self._graph
        later = {line.split()[1] for _, line in self._blocks.get("groups", _Block()).lines if len(line.split()) > 1}
        later |= {head.partition("(")[0] for _, head, _ in self._numbered("functions")}
        for number, name, text in self._numbered("parameters"):
            node = self._expression(text, number)
            self._constants.append(Constant(self._new(name, number), node, graph.number_of(node) is None))
            self._definitions[name] = graph.symbol(name)
            self._quantities[name] = Quantity(name, "parameter", written_constant=True)
        # ids that are made here give way to names of the file
        named, self._taken = self._taken, self._taken | later
        compartment = claim_id("cell", self._taken)
        species, initial, fixed = self._species(compartment)
        self._taken -= later - named
        groups = self._groups(species)
        functions = self._functions(dict(groups))
        reactions, change = self._reactions(species, fixed, dict(functions))
        self._constants.append(Constant(compartment, graph.number(1)))
        self._quantities[compartment] = Quantity(
            compartment, "compartment", written_constant=True, spatial_dimensions=3.0
        )
        states = tuple(id for id in species if id not in fixed)
        zero = graph.number(0)
        title = Path(self._file).stem
        return OdeSystem(
            graph,
            states,
            tuple(initial[id] for id in states),
            tuple(graph.add(change[id]) if change.get(id) else zero for id in states),
            tuple(self._constants),
            tuple(Assigned(name, node) for name, node in (*groups, *functions)),
            tuple(reactions),
            id=re.sub(r"\W+", "_", f"model_{title}" if title[:1].isdigit() else title) or "model",
            name=title or None,
            quantities=self._quantities,
            origin=Origin("bionetgen", self._file, sha256, remarks=(Reason("deterministic-rates", _STOCHASTIC),)),
        )

    # -- blocks ------------------------------------------------------------------------------------------

    def _fail(self, line: int, message: str, code: str = "net-syntax", element: str | None = None) -> NoReturn:
        raise InputError(Reason(code, f"{self._file}, line {line}: {message}", element, line))

    def _split(self, text: str) -> Mapping[str, _Block]:
        blocks: dict[str, _Block] = {}
        opened: str | None = None
        for number, raw in enumerate(text.splitlines(), 1):
            line = raw.partition("#")[0].strip()
            mark = _BEGIN.match(line) if line.startswith(("begin", "end")) else None
            if mark is not None and mark[2] == "model":
                continue
            if mark is not None and mark[1] == "begin":
                if opened is not None:
                    self._fail(number, f"the block {mark[2]} begins inside the block {opened}")
                opened = mark[2]
                if opened not in _READ | _PASSED_OVER:
                    self._fail(number, f"the block {opened!r} is not read", "net-block", opened)
                if opened in blocks:
                    self._fail(number, f"there is a second block {opened}")
                blocks[opened] = _Block()
            elif mark is not None:
                if mark[2] != opened:
                    self._fail(number, f"the block {mark[2]} ends, but {opened or 'none'} is open")
                opened = None
            elif line and opened is not None:
                blocks[opened].lines.append((number, line))
        if opened is not None:
            self._fail(len(text.splitlines()), f"the block {opened} has no end")
        if "reactions" not in blocks or "species" not in blocks:
            self._fail(1, "there are no blocks of species and reactions; is this a network that BioNetGen generated?")
        return blocks

    def _numbered(self, block: str) -> Iterator[tuple[int, str, str]]:
        """Line, name and the rest of ``INDEX NAME REST`` (the index may be missing)."""
        for number, line in self._blocks.get(block, _Block()).lines:
            words = line.split(None, 2)
            if words[0].isdigit():
                words = words[1:] if len(words) < 3 else [words[1], words[2]]
            else:
                words = line.split(None, 1)
            if len(words) != 2:
                self._fail(number, f"a name and an expression are expected in the block {block}, not {line!r}")
            yield number, words[0], words[1].lstrip("= ")

    # -- expressions -------------------------------------------------------------------------------------

    def _new(self, name: str, line: int) -> str:
        if not _NAME.match(name):
            self._fail(line, f"{name!r} cannot be a name")
        if name in self._taken:
            self._fail(line, f"the name {name} is given twice", "net-duplicate-name", name)
        self._taken.add(name)
        return name

    def _expression(self, text: str, line: int) -> Node:
        node = self._expressions.get(text)
        if node is None:
            plain = _NO_ARGUMENTS.sub(lambda call: "time" if call[1] == "time" else call[1], text)
            for call in _CALL.finditer(plain):
                if call[1] not in _FUNCTIONS:
                    message = f"{call[1]}(…) is not read; known are {', '.join(sorted(_FUNCTIONS))}"
                    self._fail(line, message, "net-unknown-function", call[1])
            try:
                node = parse_expression(self._graph, plain, self._definitions)
            except ExpressionError as error:
                code = "net-syntax" if error.name is None else "net-unknown-name"
                self._fail(line, f"cannot read {text!r}: {error}", code, error.name)
            self._expressions[text] = node
        return node

    # -- what the blocks hold ----------------------------------------------------------------------------

    def _species(self, compartment: str) -> tuple[list[str], dict[str, Node], set[str]]:
        """Ids in the order of their indices, initial values, and which never change."""
        ids: list[str] = []
        initial: dict[str, Node] = {}
        fixed: set[str] = set()
        for number, line in self._blocks["species"].lines:
            words = line.split()
            if len(words) != 3 or not words[0].isdigit():
                self._fail(number, f"an index, a species and its initial value are expected, not {line!r}")
            if int(words[0]) != len(ids) + 1:
                self._fail(number, f"species {len(ids) + 1} is expected, not {words[0]}")
            pattern = words[1]
            constant = pattern.startswith("$") or "::$" in pattern
            id = claim_id(f"S{words[0]}", self._taken)
            ids.append(id)
            initial[id] = self._expression(words[2], number)
            self._quantities[id] = Quantity(
                id,
                "species",
                pattern.replace("$", "", 1) if constant else pattern,
                compartment=compartment,
                amount=True,
                given_as_amount=True,
                boundary=constant,
                written_constant=constant,
            )
            if constant:
                fixed.add(id)
                node = initial[id]
                self._constants.append(Constant(id, node, self._graph.number_of(node) is None))
        if not ids:
            self._fail(1, "there are no species")
        return ids, initial, fixed

    def _groups(self, species: list[str]) -> list[tuple[str, Node]]:
        found: list[tuple[str, Node]] = []
        graph = self._graph
        for number, line in self._blocks.get("groups", _Block()).lines:
            words = line.split()
            if len(words) not in (2, 3) or not words[0].isdigit():
                self._fail(number, f"an index, a name and members are expected, not {line!r}")
            terms = []
            for member in words[2].split(",") if len(words) == 3 else ():
                weight, star, index = member.rpartition("*")
                if star and not weight.isdigit():
                    self._fail(number, f"{member!r} is no member of a group, such as 12 or 2*12")
                terms.append(graph.scaled(int(weight) if star else 1, graph.symbol(self._at(species, index, number))))
            name = self._new(words[1], number)
            node = graph.add(terms)
            self._definitions[name] = node
            found.append((name, node))
            self._quantities[name] = Quantity(name, "parameter")
        return found

    def _at(self, species: list[str], index: str, line: int) -> str:
        if not index.isdigit() or not 1 <= int(index) <= len(species):
            self._fail(line, f"there is no species {index!r}; the file has {len(species)}", "net-unknown-name", index)
        return species[int(index) - 1]

    def _functions(self, groups: Mapping[str, Node]) -> list[tuple[str, Node]]:
        """Functions with what they call put in: they are global, and mention groups, parameters and each other."""
        found: list[tuple[str, Node]] = []
        for number, head, text in self._numbered("functions"):
            name, bracket, arguments = head.partition("(")
            if bracket and arguments.strip() != ")":
                self._fail(number, f"the function {name} takes arguments, which is not read", "net-rate-law", name)
            node = self._expression(text, number)
            self._definitions[self._new(name, number)] = node
            self._expressions.clear()  # a text may mean more now
            found.append((name, node))
            self._quantities[name] = Quantity(name, "parameter")
        return found

    def _reactions(
        self, species: list[str], fixed: set[str], functions: Mapping[str, Node]
    ) -> tuple[list[Reaction], dict[str, list[Node]]]:
        """Reactions, and the terms of each species' rate."""
        graph = self._graph
        made: list[Reaction] = []
        change: dict[str, list[Node]] = {}
        states = set(species) - fixed
        for number, line in self._blocks["reactions"].lines:
            words = line.split()
            if len(words) < 4 or not words[0].isdigit():
                self._fail(number, f"an index, reactants, products and a rate are expected, not {line!r}")
            law = words[3].rpartition("*")[2]
            if law in _RATE_LAWS or len(words) > 4:
                shown = " ".join(words[3:])
                self._fail(number, f"the rate law {shown!r} is not read: write it as a function", "net-rate-law", law)
            left, right = (self._side(species, text, number) for text in words[1:3])
            rate = self._expression(words[3], number)
            factors = [
                graph.pow(graph.symbol(id), graph.number(n)) if n > 1 else graph.symbol(id) for id, n in left.items()
            ]
            flux = graph.mul((rate, *factors)) if factors else rate
            id = claim_id(f"r{words[0]}", self._taken)
            for side, sign in ((left, -1), (right, 1)):
                for one, count in side.items():
                    if one in states and left.get(one, 0) != right.get(one, 0):
                        change.setdefault(one, []).append(graph.scaled(sign * count, flux))
            named = graph.symbols([rate]) & states - left.keys() - right.keys() if law in functions else ()
            made.append(Reaction(id, flux, self._parts(left), self._parts(right), tuple(sorted(named)), False, None))
        return made, change

    def _side(self, species: list[str], text: str, line: int) -> dict[str, int]:
        """Species of a side and how often each stands there; 0 is nothing."""
        counts: dict[str, int] = {}
        if text != "0":
            for index in text.split(","):
                id = self._at(species, index, line)
                counts[id] = counts.get(id, 0) + 1
        return counts

    def _parts(self, side: Mapping[str, int]) -> tuple[Participant, ...]:
        return tuple(Participant(id, self._graph.number(count)) for id, count in side.items())
