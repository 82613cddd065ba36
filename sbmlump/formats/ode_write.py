"""A system as an ``.ode`` file: parameters, init, equations, views. What the format cannot say is refused.

ERODE's grammar gives a power a signed base and lets powers bind to the left (``-x^2`` is (−x)², ``2^3^2`` is 64), so a
power stands in parentheses wherever that would matter.

References
----------
Grammar of ERODE: ChemicalReactionNetwork.xtext of github.com/IMTAltiStudiLucca/ERODE4.18.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from sbmlump.errors import Reason, UnsupportedModelError, some_names
from sbmlump.model.graph import LOGIC, MAX_BITS, RELATIONS, Graph, Node, Op
from sbmlump.model.names import claim_id, free_id
from sbmlump.model.properties import require_writable_system
from sbmlump.model.system import OdeSystem
from sbmlump.model.text import (
    ATOM,
    OPEN,
    POWER,
    SUM,
    ExpressionError,
    GraphPrinter,
    Operand,
    Spelling,
    decimal_digits,
    one_line,
    parse_number,
    plain_decimal,
    scientific,
)

__all__ = ["OdeStyle", "OdeText", "ode_text", "write_ode"]


_SPELLING: Final = {
    "ln": "log", "ceiling": "ceil", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arcsinh": "asinh",
    "arccosh": "acosh", "arctanh": "atanh",
}  # fmt: skip
_PLAIN: Final = frozenset("exp abs floor sin cos tan sinh cosh tanh min max".split())
_CONSTANTS: Final = {"exponentiale": "exp(1)", "pi": "(4*atan(1))"}
_ERODES: Final = frozenset({"min", "max", "abs"})
"""Functions of ERODE's own grammar."""

_BLOCK_WORDS: Final = frozenset("begin end arbitrary".split())
"""Words that end or begin something whatever reads the file: they cannot be names."""

_TOOL_WORDS: Final = frozenset(
    "ALL APACHE AX BDE Boolean CSVFile FDE FEM Hill IC M0 MA NEW NO NONE ODE OLD Outputs PQ Q Qbar RN SUNDIALS USER "
    "VARS VIEWS abs absTol absolute addSelfLoops algebraic alginit alpha and approximateBDE approximateFDE arbitrary "
    "backward begin both campaign cartesianProduct certain closure coefficients computeJacobian constants constraints "
    "cora covar csvFile curry d decompress defaultIC delta end epsilon expr false fileIn fileOut folderIn folderOut "
    "for form format forward from fse functions h_K h_R1 h_R2 h_n1 h_n2 implies in init integrationStep kMax kvalue "
    "library limits load logger lower max maxStep maxTime method min minStep model n network newline nextReaction not "
    "or param parameters paramsToCurry partition percentage plot precision print query question reaction reactions "
    "reagents reducedFile reduction relsTol repeats setIC setParam simulateCTMC simulateDAE simulateODE simulations "
    "slopes species ssa step stepSize steps strict symbolic tEnd this timeStep times to true unique unsafeSet upTo "
    "update upper utopic var views write".split()
)
"""Words of ERODE's grammar, models and commands; it reserves them everywhere."""


@dataclass(frozen=True, slots=True)
class OdeStyle:
    """How a file is laid out.

    Attributes
    ----------
    line : int
        Characters after which a line is broken at the next operator.
    digits : int
        Places of a decimal number; what has more is written as a quotient, which is shorter then.
    named : int
        Ids that a remark lists.
    """

    line: int = 110
    digits: int = 40
    named: int = 5


@dataclass(frozen=True, slots=True)
class OdeText:
    """A system as an ``.ode`` file.

    Attributes
    ----------
    text : str
    renamed : mapping of str to str
        New ids of quantities whose id is a word of the format.
    clock : str or None
        The added state that is the time.
    left_out : frozenset of str
        Compartments that no equation mentions.
    reasons : tuple of Reason
        What is said of this: codes ``id-renamed``, ``not-kept``, ``ode-dialect``.
    """

    text: str
    renamed: Mapping[str, str]
    clock: str | None
    left_out: frozenset[str]
    reasons: tuple[Reason, ...]


def write_ode(system: OdeSystem) -> bytes:
    """The text of ``system`` as an ``.ode`` file, UTF-8; see :func:`ode_text`."""
    return ode_text(system).text.encode()


def ode_text(system: OdeSystem, style: OdeStyle = OdeStyle()) -> OdeText:
    """``system`` as an ``.ode`` file in ERODE's notation.

    All equations are written as ODEs, exactly: decimal numbers where they end, quotients of integers elsewhere. A
    system that mentions time gets a clock, a further variable with the derivative 1.

    Raises
    ------
    UnsupportedModelError
        Code ``ode-not-expressible``, once for each thing the format has no words for: events, branches, relations,
        a missing initial value, functions that no reader of such files knows.
    LimitError
        Code ``too-large`` if an expression, written in full, is out of proportion: the format has no names for parts.
    """
    require_writable_system(system, "an .ode file")
    writer = _Writer(system, style)
    reasons = writer.obstacles()
    if reasons:
        raise UnsupportedModelError(reasons)
    return OdeText(writer.text(), writer.renamed, writer.clock, writer.left_out, tuple(writer.remarks()))


class _Writer:
    def __init__(self, system: OdeSystem, style: OdeStyle) -> None:
        self.style = style
        self.system = system
        self.graph = system.graph
        self.rest = [*system.rhs, *(a.value for a in system.assigned)]
        self.clock: str | None = None
        table = {c.id: c.value for c in system.constants}
        numbers = {name for name, node in table.items() if node is None or self.graph.number_of(node) is not None}
        start = system.at_start(frozenset(numbers))
        self.resolved: list[str] = []
        """What follows from initial values of states, and is written with those put in."""

        def kept(name: str, node: Node | None) -> Node | None:
            """The formula as it stands if it uses constants only, else over constants that are numbers."""
            if node is None or name in numbers:
                return node
            used, time = self.graph.leaves([node])
            if not time and used <= table.keys():
                return node
            self.resolved.append(name)
            return start.get(name)

        self.start = {name: kept(name, node) for name, node in zip(system.states, system.initial, strict=True)}
        self.values = {name: kept(name, node) for name, node in table.items()}
        nodes = [node for node in (*self.start.values(), *self.values.values()) if node is not None]
        mentioned = self.graph.symbols([*self.rest, *nodes])
        # the size of a compartment that no equation mentions would be a parameter without any meaning
        self.left_out = frozenset(
            c.id
            for c in system.constants
            if (q := system.quantities.get(c.id)) is not None and q.kind == "compartment" and c.id not in mentioned
        )
        taken = set(system.taken_ids)
        self.renamed: dict[str, str] = {}
        for name in (*system.states, *self.values, *(a.id for a in system.assigned)):
            if name in _BLOCK_WORDS:
                self.renamed[name] = claim_id(f"{name}_", taken)
        if self.graph.depends_on_time(self.rest):
            self.clock = claim_id("clock" if "time" in taken else "time", taken)
        self.written = [*self.rest, *nodes]
        self.printer = _Printer(system.graph, self.clock, self.renamed, style.digits)

    def obstacles(self) -> list[Reason]:
        """Everything the format has no words for."""
        system = self.system
        reasons = [
            Reason("ode-not-expressible", f"an .ode file has no events, and there is {event.id or 'one'}", event.id)
            for event in system.events
        ]
        for name, value in self.start.items():
            if value is None or self.graph.symbols([value]) & self._without_value():
                text = f"the initial value of {name} is missing or rests on a missing one; an .ode file would take 0"
                reasons.append(Reason("ode-not-expressible", text, name))
        odd: dict[str, None] = {}
        for node in self.graph.reachable(self.written):
            what = self._odd_name(node)
            if what is not None:
                odd.setdefault(what)
        reasons.extend(Reason("ode-not-expressible", f"an .ode file has no {what}") for what in odd)
        return reasons

    def _without_value(self) -> set[str]:
        return {name for name, value in self.values.items() if value is None}

    def _odd_name(self, node: Node) -> str | None:
        graph = self.graph
        op = graph.op(node)
        value = graph.number_of(node)
        if value is not None:
            return _odd_number(value, self.style.digits)
        if op is Op.PIECEWISE:
            return "branches (piecewise)"
        if op is Op.CONSTANT and graph.name(node) not in _CONSTANTS:
            return f"constant '{graph.name(node)}'"
        if op is Op.CALL:
            name = graph.name(node)
            if name in LOGIC or name in RELATIONS:
                return f"conditions ('{name}')"
            if name not in _PLAIN and name not in _SPELLING:
                return f"function '{name}'"
        return None

    def remarks(self) -> list[Reason]:
        """Ids that had to change, what is not in the file, and what ERODE itself cannot read in it."""
        system = self.system
        reasons = [
            Reason("id-renamed", f"{old} is a word of .ode files; there it is called {new}", old)
            for old, new in self.renamed.items()
        ]
        resolved = some_names(self.resolved, self.style.named)
        lost = {
            "reactions (all is written as equations)": bool(system.reactions),
            "constraints": bool(system.constraints),
            "units": any(q.units for q in system.quantities.values()) or bool(system.origin.model_units),
            "names": any(q.name for q in system.quantities.values()),
            "notes and annotations": bool(system.origin.notes or system.origin.annotation)
            or any(q.notes or q.annotation for q in system.quantities.values())
            or any(r.notes or r.annotation for r in system.reactions),
            "sizes of compartments that no equation mentions": bool(self.left_out),
            f"that {resolved} follow from initial values of states (these are put in)": bool(self.resolved),
        }
        if any(lost.values()):
            text = "; ".join(kind for kind, is_lost in lost.items() if is_lost)
            reasons.append(Reason("not-kept", f"not in the .ode file: {text}"))
        foreign = self._foreign()
        if foreign:
            text = (
                f"ERODE's own grammar does not read this file: it has no {'; no '.join(foreign)}. sbmlump reads it; "
                "other tools may fail, or take a function for a variable"
            )
            reasons.append(Reason("ode-dialect", text))
        return reasons

    def _foreign(self) -> list[str]:
        """What is in the file and not in ERODE's grammar."""
        graph = self.graph
        states = {*self.system.states, *(a.id for a in self.system.assigned)}
        functions: set[str] = set()
        exponent = False
        for node in graph.reachable(self.written):
            op = graph.op(node)
            if op is Op.CALL and graph.name(node) not in _ERODES:
                functions.add(_SPELLING.get(graph.name(node), graph.name(node)))
            elif op is Op.CONSTANT:
                functions.add(_CONSTANTS[graph.name(node)].strip("(").partition("(")[0].rpartition("*")[2])
            elif op is Op.POW:
                names, time = graph.leaves([graph.args(node)[1]])
                exponent = exponent or time or bool(names & states)
        words = sorted(name for name in self._ids() if name in _TOOL_WORDS)
        return [
            *([f"function {', '.join(sorted(functions))}"] if functions else []),
            *(["power with a variable in its exponent"] if exponent else []),
            *([f"variable or parameter named {', '.join(words)}"] if words else []),
        ]

    def _ids(self) -> list[str]:
        names = (*self.system.states, *self.values, *(a.id for a in self.system.assigned))
        return [self._name(name) for name in names if name not in self.left_out]

    def _name(self, name: str) -> str:
        return self.renamed.get(name, name)

    # -- text ----------------------------------------------------------------------------------------

    def text(self) -> str:
        """The whole file."""
        system = self.system
        lines = [f"begin model {free_id(system.id, _BLOCK_WORDS)}"]
        if system.name and system.name != system.id:
            lines.insert(0, f"// {one_line(system.name)}")
        parameters = [
            f"  {self._name(name)}" if value is None else self._line(self._name(name), value)
            for name, value in self.values.items()
            if name not in self.left_out
        ]
        self._block(lines, "parameters", parameters)
        self._block(lines, "init", self._init_lines())
        equations = [
            self._line(f"d({self._name(name)})", rhs) for name, rhs in zip(system.states, system.rhs, strict=True)
        ]
        if self.clock:
            equations.append(f"  d({self.clock}) = 1")
        self._block(lines, "ODE", equations)
        self._block(lines, "views", [self._line(self._name(a.id), a.value) for a in system.assigned])
        lines.append("end model")
        return "\n".join(lines) + "\n"

    @staticmethod
    def _block(lines: list[str], name: str, content: Sequence[str]) -> None:
        if content:
            lines += [f" begin {name}", *content, f" end {name}"]

    def _init_lines(self) -> list[str]:
        zero = self.graph.number(0)
        lines = []
        for name, node in self.start.items():
            assert node is not None
            own = self._name(name)
            lines.append(f"  {own}" if node == zero else self._line(own, node))
        if self.clock:
            lines.append(f"  {self.clock}")
        return lines

    def _line(self, left: str, root: Node) -> str:
        """``left = expression``, broken after operators where the line gets long."""
        out = [f"  {left} = "]
        width = len(out[0])
        for piece in self.printer.pieces(root):
            out.append(piece)
            width += len(piece)
            if width > self.style.line and piece in (" + ", " - ", "*", "/"):
                out.append("\n    ")
                width = 4
        return "".join(out)


class _Printer(GraphPrinter):
    """ERODE's notation.

    Products and quotients do not begin with one of their own kind, and what stands after a sign does not begin with a
    power, which would take the sign into its base.
    """

    first_factor = POWER

    def __init__(self, graph: Graph, clock: str | None, names: Mapping[str, str], digits: int) -> None:
        super().__init__(graph)
        self._digits = digits
        self._clock = clock
        self._names = names

    def number(self, value: Fraction) -> Spelling[Node]:
        text = _number(value, self._digits)
        return SUM if value < 0 or "/" in text else ATOM, [text]

    def symbol(self, name: str) -> str:
        return self._names.get(name, name)

    def time(self) -> str:
        assert self._clock is not None
        return self._clock

    def constant(self, name: str) -> str:
        return _CONSTANTS[name]

    def after_sign(self, first: Node, text: list[str | Operand[Node]]) -> list[str | Operand[Node]]:
        graph = self.graph
        leftmost = first
        while graph.op(leftmost) in (Op.MUL, Op.DIV):
            leftmost = graph.args(leftmost)[0]
            if graph.op(leftmost) is Op.ADD:
                break
        return ["(", *text, ")"] if graph.op(leftmost) is Op.POW else text

    def call(self, name: str, args: Sequence[Node]) -> Spelling[Node]:
        if name not in ("min", "max") or len(args) <= 2:
            return super().call(_SPELLING.get(name, name), args)
        out: list[str | Operand[Node]] = [Operand(args[0], OPEN)]
        for arg in args[1:]:  # they are functions of two in ERODE
            out = [f"{name}(", *out, ", ", Operand(arg, OPEN), ")"]
        return ATOM, out


def _odd_number(value: Fraction, places: int) -> str | None:
    """What is said of a number whose text no reader takes: the graph holds longer ones than :func:`parse_number`."""
    try:
        for part in _number(abs(value), places).split("/"):
            parse_number(part)
    except ExpressionError as error:
        return f"number of this length ({error})"
    return None


def _number(value: Fraction, places: int) -> str:
    """Exact text: an integer, a decimal number that ends, or a quotient of integers."""
    if value.denominator == 1:
        return str(value.numerator)
    decimal = decimal_digits(value, MAX_BITS, places)
    if decimal is None:
        return f"{value.numerator}/{value.denominator}"
    sign = "-" if value < 0 else ""
    digits, exponent = decimal
    small = exponent < -6 and len(digits) + exponent <= 0
    return sign + (scientific(digits, exponent, "E") if small else plain_decimal(digits, exponent))
