"""A system as an ``.ode`` file: parameters, init, equations, views. What the format cannot say is refused."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from sbmlump.errors import Reason, UnsupportedModelError
from sbmlump.expr.graph import LOGIC, RELATIONS, Graph, Node, Op
from sbmlump.system import OdeSystem

__all__ = ["write_ode"]

_SPELLING: Final = {
    "ln": "log", "ceiling": "ceil", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arcsinh": "asinh",
    "arccosh": "acosh", "arctanh": "atanh",
}  # fmt: skip
_PLAIN: Final = frozenset("exp abs floor sin cos tan sinh cosh tanh min max".split())
_CONSTANTS: Final = {"exponentiale": "exp(1)", "pi": "(4*atan(1))"}
_LINE: Final = 110
_DIGITS: Final = 40


def write_ode(system: OdeSystem) -> bytes:
    """The text of ``system`` as an ``.ode`` file in ERODE's notation, UTF-8.

    All equations are written as ODEs, exactly: decimal numbers where they end, quotients of integers elsewhere. A
    system that mentions time gets a clock, a further variable with the derivative 1.

    Raises
    ------
    UnsupportedModelError
        Code ``ode-not-expressible``, once for each thing the format has no words for: events, branches, relations,
        a missing initial value, functions ERODE does not know.
    """
    writer = _Writer(system)
    reasons = writer.obstacles()
    if reasons:
        raise UnsupportedModelError(reasons)
    return writer.text().encode()


class _Writer:
    def __init__(self, system: OdeSystem) -> None:
        self.system = system
        self.graph = system.graph
        self.rest = [*system.rhs, *(a.value for a in system.assigned)]
        start = [node for node in system.initial if not self._is_resolved(node)]
        self.mentioned = system.graph.symbols([*self.rest, *start])
        self.clock: str | None = None
        if system.graph.depends_on_time(self.rest):
            taken = {*system.definitions, *system.quantities}
            self.clock = next(name for name in _clock_names() if name not in taken)

    def obstacles(self) -> list[Reason]:
        """Everything the format has no words for."""
        system = self.system
        reasons = [
            Reason("ode-not-expressible", f"an .ode file has no events, and there is {event.id or 'one'}", event.id)
            for event in system.events
        ]
        for name, value in zip(system.states, system.initial_values, strict=True):
            if value is None:
                text = f"the initial value of {name} is missing or rests on a missing one; an .ode file would take 0"
                reasons.append(Reason("ode-not-expressible", text, name))
        odd: dict[str, None] = {}
        values = [c.value for c in system.constants if c.value is not None]
        for node in self.graph.reachable([*self.rest, *values]):
            what = self._odd_name(node)
            if what is not None:
                odd.setdefault(what)
        reasons.extend(Reason("ode-not-expressible", f"an .ode file has no {what}") for what in odd)
        return reasons

    def _odd_name(self, node: Node) -> str | None:
        graph = self.graph
        op = graph.op(node)
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

    # -- text ----------------------------------------------------------------------------------------

    def text(self) -> str:
        """The whole file."""
        system = self.system
        lines = [f"begin model {system.id}"]
        if system.name and system.name != system.id:
            lines.insert(0, "// " + " ".join(system.name.split()))
        parameters = [
            f"  {c.id} = {self._joined(self._constant_value(c.id), len(c.id) + 5)}"
            if c.id in system.constant_values
            else f"  {c.id}"
            for c in system.constants
            if self._is_written(c.id)
        ]
        self._block(lines, "parameters", parameters)
        self._block(lines, "init", self._init_lines())
        equations = [
            f"  d({name}) = {self._joined(rhs, len(name) + 7)}"
            for name, rhs in zip(system.states, system.rhs, strict=True)
        ]
        if self.clock:
            equations.append(f"  d({self.clock}) = 1")
        self._block(lines, "ODE", equations)
        self._block(lines, "views", [f"  {a.id} = {self._joined(a.value, len(a.id) + 5)}" for a in system.assigned])
        lines.append("end model")
        return "\n".join(lines) + "\n"

    @staticmethod
    def _block(lines: list[str], name: str, content: Sequence[str]) -> None:
        if content:
            lines += [f" begin {name}", *content, f" end {name}"]

    def _is_written(self, id: str) -> bool:
        """The size of a compartment that no equation mentions would be a parameter without any meaning."""
        quantity = self.system.quantities.get(id)
        return quantity is None or quantity.kind != "compartment" or id in self.mentioned

    def _constant_value(self, id: str) -> Node:
        """The value as it stands if it uses constants only, else resolved."""
        given = next(c.value for c in self.system.constants if c.id == id)
        constants = {c.id for c in self.system.constants if self._is_written(c.id)}
        if given is not None and self.graph.symbols([given]) <= constants and not self.graph.depends_on_time([given]):
            return given
        return self.system.constant_values[id]

    def _is_resolved(self, node: Node) -> bool:
        """Whether an initial value has to be written resolved, because it uses more than constants."""
        constants = {c.id for c in self.system.constants}
        return not self.graph.symbols([node]) <= constants or self.graph.depends_on_time([node])

    def _init_lines(self) -> list[str]:
        system = self.system
        zero = self.graph.number(0)
        lines = []
        for name, node, value in zip(system.states, system.initial, system.initial_values, strict=True):
            written = value if self._is_resolved(node) else node
            assert written is not None
            lines.append(f"  {name}" if written == zero else f"  {name} = {self._joined(written, len(name) + 5)}")
        if self.clock:
            lines.append(f"  {self.clock}")
        return lines

    def _joined(self, root: Node, indent: int) -> str:
        """Text of an expression, broken after operators where the line gets long."""
        pieces = _pieces(self.graph, root, self.clock)
        out: list[str] = []
        width = indent
        for piece in pieces:
            out.append(piece)
            width += len(piece)
            if width > _LINE and piece in (" + ", " - ", "*", "/"):
                out.append("\n    ")
                width = 4
        return "".join(out)


def _clock_names() -> Sequence[str]:
    return ["time", "clock", *(f"clock_{i}" for i in range(2, 10_000))]


def _pieces(graph: Graph, root: Node, clock: str | None) -> list[str]:
    """Pieces of the text of ``root``, without recursion."""
    out: list[str] = []
    stack: list[Node | str] = [root]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            out.append(item)
        else:
            stack.extend(reversed(_spell(graph, item, clock)))
    return out


def _level(graph: Graph, node: Node) -> int:
    """How tightly the text of a node holds together: 1 sum, 2 product, 3 power, 4 anything closed."""
    op = graph.op(node)
    if op is Op.ADD:
        return 1
    if op in (Op.MUL, Op.DIV):
        return 2
    if op is Op.POW:
        return 3
    value = graph.number_of(node)
    if value is not None and (value < 0 or "/" in _number(value)):
        return 1
    return 4


def _wrapped(graph: Graph, node: Node, level: int) -> list[Node | str]:
    return [node] if _level(graph, node) >= level else ["(", node, ")"]


def _spell(graph: Graph, node: Node, clock: str | None) -> list[Node | str]:
    op, args = graph.op(node), graph.args(node)
    value = graph.number_of(node)
    if value is not None:
        return [_number(value)]
    if op is Op.SYMBOL:
        return [graph.name(node)]
    if op is Op.TIME:
        assert clock is not None
        return [clock]
    if op is Op.CONSTANT:
        return [_CONSTANTS[graph.name(node)]]
    if op is Op.ADD:
        return _spell_sum(graph, args)
    if op is Op.MUL:
        out: list[Node | str] = []
        for position, arg in enumerate(args):
            if position == 0 and graph.number_of(arg) == -1:
                out.append("-")
                continue
            out += (["*"] if position and out != ["-"] else []) + _wrapped(graph, arg, 3)
        return out
    if op is Op.DIV:
        return [*_wrapped(graph, args[0], 3), "/", *_wrapped(graph, args[1], 3)]
    if op is Op.POW:
        if graph.number_of(args[1]) == Fraction(1, 2):
            return ["sqrt(", args[0], ")"]
        return [*_wrapped(graph, args[0], 4), "^", *_wrapped(graph, args[1], 4)]
    name = graph.name(node)
    out = [_SPELLING.get(name, name), "("]
    for position, arg in enumerate(args):
        out += ([", "] if position else []) + [arg]
    return [*out, ")"]


def _spell_sum(graph: Graph, args: Sequence[Node]) -> list[Node | str]:
    out: list[Node | str] = []
    for position, arg in enumerate(args):
        factor = graph.number_of(graph.args(arg)[0]) if graph.op(arg) is Op.MUL else graph.number_of(arg)
        if factor is not None and factor < 0:
            opposite = graph.neg(arg)
            out.append(" - " if position else "-")
            out += _wrapped(graph, opposite, 2)
        else:
            out += ([" + "] if position else []) + _wrapped(graph, arg, 2)
    return out


def _number(value: Fraction) -> str:
    """Exact text: an integer, a decimal number that ends, or a quotient of integers."""
    if value.denominator == 1:
        return str(value.numerator)
    rest = value.denominator
    twos = (rest & -rest).bit_length() - 1
    rest >>= twos
    fives = 0
    while rest % 5 == 0:
        rest //= 5
        fives += 1
    places = max(twos, fives)
    if rest != 1 or places > _DIGITS:
        return f"{value.numerator}/{value.denominator}"
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    sign = "-" if value < 0 else ""
    whole, fraction = digits[:-places], digits[-places:]
    if places > 6 and whole == "0":
        mantissa = fraction.lstrip("0")
        exponent = places - (len(mantissa) - 1)
        tail = f".{mantissa[1:]}" if len(mantissa) > 1 else ""
        return f"{sign}{mantissa[0]}{tail}E-{exponent}"
    return f"{sign}{whole}.{fraction}"
