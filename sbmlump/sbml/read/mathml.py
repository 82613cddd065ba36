"""Mathematics of an SBML file into nodes of an expression graph.

Two steps, both loops: :func:`compile_ast` turns libSBML's syntax tree into a postfix program of plain tuples (so the
slow walk over libSBML's objects happens once), and :class:`Builder` runs such a program with ids looked up in an
environment, calling function definitions as programs of their own. Nothing here recurses.

In the graph the value of every operator has one type. Where a truth value stands for a number it becomes 1 or 0, where
a number stands for a truth value it is compared with 0 (both are allowed from Level 3 Version 2 on).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, partial
from itertools import pairwise
from math import isfinite
from typing import Any, Final, NamedTuple

import libsbml

from sbmlump.errors import LimitError
from sbmlump.model.graph import FUNCTIONS, LOGIC, RELATIONS, Graph, Node, Op
from sbmlump.sbml.read.precheck import READ_LIMITS, ReadLimits

__all__ = [
    "AVOGADRO",
    "RATE_OF",
    "Builder",
    "Function",
    "Instruction",
    "MathError",
    "Program",
    "compile_ast",
    "literal",
    "numbers_with_units",
    "rate_of",
    "OPERATORS",
    "as_number",
    "as_truth",
]


# -- every operator of SBML's MathML ---------------------------------------------------------------


Operator = Callable[[Graph, Sequence[Node]], Node]


class MathError(Exception):
    """Mathematics that cannot be read: the code of the reason, and the end of a sentence that begins with the place."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def is_truth(graph: Graph, node: Node) -> bool:
    """Whether ``node`` has a truth value (a relation, a logical operator, true or false)."""
    op = graph.op(node)
    if op is Op.CALL:
        name = graph.name(node)
        return name in RELATIONS or name in LOGIC
    return op is Op.CONSTANT and graph.name(node) in ("true", "false")


def as_number(graph: Graph, node: Node) -> Node:
    """``node``, or 1 and 0 for true and false."""
    if not is_truth(graph, node):
        return node
    return graph.piecewise([(graph.number(1), node)], graph.number(0))


def as_truth(graph: Graph, node: Node) -> Node:
    """``node``, or whether it differs from 0 where it is a number."""
    if is_truth(graph, node):
        return node
    zero = graph.number(0)
    if graph.op(node) is Op.PIECEWISE:  # the inverse of as_number
        args = graph.args(node)
        if len(args) == 3 and args[0] == graph.number(1) and args[2] == zero:
            return args[1]
    return graph.call("neq", (node, zero))


def literal(graph: Graph, value: float | Fraction) -> Node:
    """A number of a file: a double means the decimal number that it is written as."""
    return graph.number(value) if isinstance(value, Fraction) else graph.decimal(value)


def _numbers(graph: Graph, args: Sequence[Node]) -> list[Node]:
    return [as_number(graph, node) for node in args]


def _expect(name: str, args: Sequence[Node], low: int, high: int | None = None) -> None:
    if len(args) < low or (high is not None and len(args) > high):
        wanted = f"{low}" if high == low else f"{low} to {high}" if high is not None else f"at least {low}"
        raise MathError("wrong-arguments", f"gives {name} {len(args)} arguments instead of {wanted}")


def _plus(graph: Graph, args: Sequence[Node]) -> Node:
    return graph.add(_numbers(graph, args))


def _times(graph: Graph, args: Sequence[Node]) -> Node:
    return graph.mul(_numbers(graph, args))


def _minus(graph: Graph, args: Sequence[Node]) -> Node:
    _expect("minus", args, 1, 2)
    numbers = _numbers(graph, args)
    return graph.neg(numbers[0]) if len(numbers) == 1 else graph.sub(numbers[0], numbers[1])


def _divide(graph: Graph, args: Sequence[Node]) -> Node:
    _expect("divide", args, 2, 2)
    return graph.div(*_numbers(graph, args))


def _power(graph: Graph, args: Sequence[Node]) -> Node:
    _expect("power", args, 2, 2)
    base, exponent = _numbers(graph, args)
    if graph.op(base) is Op.CONSTANT and graph.name(base) == "exponentiale":
        return graph.call("exp", (exponent,))
    return graph.pow(base, exponent)


def _root(graph: Graph, args: Sequence[Node]) -> Node:
    """``root(degree, x)``, degree 2 if not given."""
    _expect("root", args, 1, 2)
    numbers = _numbers(graph, args)
    degree = numbers[0] if len(numbers) == 2 else graph.number(2)
    return graph.pow(numbers[-1], graph.div(graph.number(1), degree))


def _log(graph: Graph, args: Sequence[Node]) -> Node:
    """``log(base, x)``, base 10 if not given; exact where the logarithm of a number is an integer."""
    _expect("log", args, 1, 2)
    numbers = _numbers(graph, args)
    base = numbers[0] if len(numbers) == 2 else graph.number(10)
    b, x = graph.number_of(base), graph.number_of(numbers[-1])
    if b is not None and x is not None:
        exact = _integer_logarithm(b, x)
        if exact is not None:
            return graph.number(exact)
    return graph.div(graph.call("ln", (numbers[-1],)), graph.call("ln", (base,)))


def _integer_logarithm(base: Fraction, value: Fraction) -> int | None:
    """The integer e with base^e = value, if there is one and base > 1 (floor(log10(1000)) must be 3)."""
    if base <= 1 or value <= 0:
        return None
    sign, rest = (1, value) if value >= 1 else (-1, 1 / value)
    for exponent in range(1100):  # a double holds no larger power of 2
        if rest <= 1:
            return sign * exponent if rest == 1 else None
        rest /= base
    return None


def _piecewise(graph: Graph, args: Sequence[Node]) -> Node:
    """``value, condition, value, condition, …[, otherwise]``."""
    pairs = [
        (as_number(graph, value), as_truth(graph, condition))
        for value, condition in zip(args[:-1:2], args[1::2], strict=True)
    ]
    return graph.piecewise(pairs, as_number(graph, args[-1]) if len(args) % 2 else None)


def _relation(name: str, graph: Graph, args: Sequence[Node]) -> Node:
    """Conjunction of the relation between neighbours (``neq`` takes two)."""
    _expect(name, args, 2, 2 if name == "neq" else None)
    numbers = _numbers(graph, args)
    pairs = [graph.call(name, pair) for pair in pairwise(numbers)]
    return pairs[0] if len(pairs) == 1 else graph.call("and", pairs)


def _logic(name: str, graph: Graph, args: Sequence[Node]) -> Node:
    """Logical operators; without arguments ``and`` is true, ``or`` and ``xor`` are false."""
    if name == "not":
        _expect(name, args, 1, 1)
    if not args:
        return graph.truth(name == "and")
    truths = [as_truth(graph, node) for node in args]
    return truths[0] if len(truths) == 1 and name != "not" else graph.call(name, truths)


def _implies(graph: Graph, args: Sequence[Node]) -> Node:
    _expect("implies", args, 2, 2)
    premise, conclusion = (as_truth(graph, node) for node in args)
    return graph.call("or", (graph.call("not", (premise,)), conclusion))


def _function(name: str, graph: Graph, args: Sequence[Node]) -> Node:
    if name in ("min", "max"):
        _expect(name, args, 1)
    else:
        count = 2 if name in ("rem", "quotient") else 1
        _expect(name, args, count, count)
    return graph.call(name, _numbers(graph, args))


OPERATORS: Final[Mapping[str, Operator]] = {
    "plus": _plus,
    "minus": _minus,
    "times": _times,
    "divide": _divide,
    "power": _power,
    "root": _root,
    "log": _log,
    "piecewise": _piecewise,
    "implies": _implies,
    **{name: partial(_relation, name) for name in RELATIONS},
    **{name: partial(_logic, name) for name in LOGIC},
    **{name: partial(_function, name) for name in FUNCTIONS},
}
"""Name of the operator to its construction; each raises :class:`MathError` for a wrong number of arguments."""


# -- programs, and how they are run into a graph -------------------------------------------------------


AVOGADRO: Final = 602214179 * 10**15
"""The value that SBML gives the csymbol, exactly."""

RATE_OF: Final = "rateOf "
"""How the names of symbols begin that stand for rates of change; no id does."""
_Node: Final = libsbml.ASTNode
"""libSEDML, which Tellurium imports, has a class of this name too, and SWIG hands out the class that was loaded last:
methods are taken from libSBML's, whatever a node says it is."""


class Instruction(NamedTuple):
    """One step of a postfix program: what, with which payload, taking how many values from the stack."""

    kind: str
    payload: Any
    arity: int


Program = tuple[Instruction, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """A function definition: names of its arguments and its body (``None``: the file gives no body)."""

    arguments: tuple[str, ...]
    body: Program | None


def rate_of(name: str) -> str:
    """Name of the symbol that stands for the rate of change of ``name`` until rates are known (no id looks like it)."""
    return RATE_OF + name


_AST: Final[Mapping[int, str]] = {
    libsbml.AST_PLUS: "plus",
    libsbml.AST_MINUS: "minus",
    libsbml.AST_TIMES: "times",
    libsbml.AST_DIVIDE: "divide",
    libsbml.AST_POWER: "power",
    libsbml.AST_FUNCTION_POWER: "power",
    libsbml.AST_FUNCTION_ROOT: "root",
    libsbml.AST_FUNCTION_LOG: "log",
    libsbml.AST_FUNCTION_PIECEWISE: "piecewise",
    libsbml.AST_LOGICAL_IMPLIES: "implies",
    **{getattr(libsbml, f"AST_FUNCTION_{name.upper()}"): name for name in FUNCTIONS},
    **{getattr(libsbml, f"AST_RELATIONAL_{name.upper()}"): name for name in RELATIONS},
    **{getattr(libsbml, f"AST_LOGICAL_{name.upper()}"): name for name in LOGIC},
}
_CONSTANTS: Final[Mapping[int, str]] = {
    libsbml.AST_CONSTANT_E: "exponentiale",
    libsbml.AST_CONSTANT_PI: "pi",
    libsbml.AST_CONSTANT_TRUE: "true",
    libsbml.AST_CONSTANT_FALSE: "false",
}
_DELAY: Final = ("delay", "uses delay(), which makes it a delay differential equation; it cannot become an ODE system")


def compile_ast(root: Any) -> Program:
    """The postfix program of a libSBML syntax tree.

    What cannot be read becomes an instruction that raises :class:`MathError` when it is run, so that the place where
    it is used can be named.
    """
    program: list[Instruction] = []
    stack: list[Any] = [root]  # nodes to look at, and instructions whose children have been
    while stack:
        node = stack.pop()
        if isinstance(node, Instruction):
            program.append(node)
            continue
        instruction, children = _instruction(node)
        if not children:
            program.append(instruction)
            continue
        stack.append(instruction)
        stack.extend([_Node.getChild(node, i) for i in range(children - 1, -1, -1)])
    return tuple(program)


def numbers_with_units(root: Any) -> tuple[tuple[Fraction, str | None], ...]:
    """Every finite number in a libSBML syntax tree, in the order of the text, with its ``sbml:units``."""
    found: list[tuple[Fraction, str | None]] = []
    stack: list[Any] = [root]
    while stack:
        node = stack.pop()
        kind = _Node.getType(node)
        number = None if kind == libsbml.AST_NAME_AVOGADRO else _number(node, kind)
        if isinstance(number, float):
            number = Fraction(repr(number)) if isfinite(number) else None
        if number is not None:
            found.append((number, _Node.getUnits(node) or None))
        stack.extend([_Node.getChild(node, i) for i in range(_Node.getNumChildren(node) - 1, -1, -1)])
    return tuple(found)


@lru_cache(maxsize=100_000)
def name_instruction(name: str) -> Instruction:
    """One record for all places where a name stands."""
    return Instruction("name", name, 0)


def _instruction(node: Any) -> tuple[Instruction, int]:
    """What one syntax node does, and how many of its children are to be computed first."""
    kind = _Node.getType(node)
    if kind == libsbml.AST_NAME:
        return name_instruction(_Node.getName(node)), 0
    name = _AST.get(kind)
    if name is not None:
        count = _Node.getNumChildren(node)
        return Instruction("apply", name, count), count
    number = _number(node, kind)
    if number is not None:
        return Instruction("number", number, 0), 0
    if kind in _CONSTANTS:
        return Instruction("constant", _CONSTANTS[kind], 0), 0
    if kind == libsbml.AST_NAME_TIME:
        return Instruction("time", None, 0), 0
    if kind == libsbml.AST_FUNCTION:
        count = _Node.getNumChildren(node)
        return Instruction("call", _Node.getName(node), count), count
    if kind == libsbml.AST_FUNCTION_RATE_OF:
        child = _Node.getChild(node, 0) if _Node.getNumChildren(node) == 1 else None
        if child is None or _Node.getType(child) != libsbml.AST_NAME:
            return Instruction("problem", ("rate-of", "uses rateOf of something that is not an id"), 0), 0
        return Instruction("rate-of", _Node.getName(child), 0), 0
    if kind == libsbml.AST_FUNCTION_DELAY and _Node.getNumChildren(node) == 2:
        what, by = _Node.getChild(node, 0), _Node.getChild(node, 1)
        value = _number(by, _Node.getType(by))
        if _Node.getType(what) == libsbml.AST_NAME and value is not None and isfinite(value) and value > 0:
            return Instruction(
                "past", (_Node.getName(what), Fraction(repr(value) if isinstance(value, float) else value)), 0
            ), 0
    return Instruction("problem", _problem(node, kind), 0), 0


def _number(node: Any, kind: int) -> Fraction | float | None:
    if kind == libsbml.AST_REAL:
        return float(_Node.getValue(node))
    if kind == libsbml.AST_INTEGER:
        return Fraction(_Node.getInteger(node))
    if kind == libsbml.AST_REAL_E and abs(_Node.getExponent(node)) <= READ_LIMITS.exponent:
        return Fraction(repr(float(_Node.getMantissa(node)))) * Fraction(10) ** int(_Node.getExponent(node))
    if kind == libsbml.AST_RATIONAL:
        return Fraction(_Node.getNumerator(node), _Node.getDenominator(node))
    if kind == libsbml.AST_NAME_AVOGADRO:
        return Fraction(AVOGADRO)
    return None


def _problem(node: Any, kind: int) -> tuple[str, str]:
    if kind == libsbml.AST_FUNCTION_DELAY:
        return _DELAY
    if libsbml.AST_DISTRIB_FUNCTION_NORMAL <= kind <= libsbml.AST_DISTRIB_FUNCTION_RAYLEIGH:
        name = _Node.getName(node)
        return "random-number", f"draws from a random distribution ({name}); it has no deterministic value"
    if kind == libsbml.AST_REAL_E:
        return "bad-number", "holds a number beyond what a double holds"
    if kind == libsbml.AST_LAMBDA:
        return "unsupported-math", "holds a lambda outside a function definition"
    return "unsupported-math", f"uses the MathML element {_Node.getName(node) or kind!r}, which SBML core does not have"


@dataclass(slots=True)
class _Frame:
    """A program being run: where it stands, what its names mean, and under which key its result is remembered."""

    program: Program
    names: Mapping[str, Node] | None
    key: tuple[str, tuple[Node, ...]] | None
    counter: int = 0


def _math_error(error: LimitError) -> MathError:
    """An exact number that explodes is a problem of the mathematics it stands in."""
    reason = error.reasons[0]
    return MathError(reason.code, f"cannot be evaluated: {reason.message}")


class Builder:
    """Runs programs into one graph.

    Parameters
    ----------
    graph : Graph
        Where the nodes go.
    functions : mapping of str to Function
        Function definitions by id.
    known : container of str
        Ids that may stand in the mathematics; others raise :class:`MathError` (``unknown-id``).
    limits : ReadLimits
    past : bool
        Whether ``delay`` of an id by a number is read, as a symbol that :attr:`past` explains; else it is refused.
    """

    def __init__(
        self,
        graph: Graph,
        functions: Mapping[str, Function],
        known: frozenset[str],
        limits: ReadLimits = READ_LIMITS,
        *,
        past: bool = False,
    ) -> None:
        self.limits = limits
        self.past: dict[str, tuple[str, Fraction]] | None = {} if past else None
        """Symbols that stand for the value of an id some time ago, with the id and the time."""
        self.graph = graph
        self.functions = functions
        self.known = known
        self._calls: dict[tuple[str, tuple[Node, ...]], Node] = {}
        self._symbols: dict[str, Node] = {}  # of the known ids that were met
        self._steps = 0  # outside function definitions
        self._called = 0  # inside

    def number(self, program: Program, names: Mapping[str, str] | None = None) -> Node:
        """``program`` as a number; ``names`` renames ids (local parameters).

        Raises
        ------
        MathError
            If it cannot be read.
        """
        try:
            return as_number(self.graph, self._run(program, names))
        except LimitError as error:
            raise _math_error(error) from None

    def truth(self, program: Program, names: Mapping[str, str] | None = None) -> Node:
        """``program`` as a truth value; raises as :meth:`number`."""
        try:
            return as_truth(self.graph, self._run(program, names))
        except LimitError as error:
            raise _math_error(error) from None

    def body(self, name: str) -> Node | None:
        """The body of a function definition over symbols named like its arguments; ``None`` if it has none that can be
        written: none at all, or one that means the rate of change of an argument.
        """
        function = self.functions[name]
        program = function.body
        if program is None or any(step.kind in ("rate-of", "past", "problem") for step in program):
            return None
        arguments = {argument: self.graph.symbol(argument) for argument in function.arguments}
        try:
            return self._run(program, None, arguments)
        except MathError:
            return None  # where it is called this has been said

    def _run(
        self, program: Program, renamed: Mapping[str, str] | None, arguments: Mapping[str, Node] | None = None
    ) -> Node:
        values: list[Node] = []
        frames = [_Frame(program, arguments, None)]
        renamed = renamed or {}
        symbols = self._symbols if arguments is None and not renamed else {}  # most names are known by now
        while frames:
            frame = frames[-1]
            if frame.counter == len(frame.program):
                frames.pop()
                if frame.key is not None:
                    self._calls[frame.key] = values[-1]
                continue
            step = frame.program[frame.counter]
            frame.counter += 1
            if frame.key is None:
                self._steps += 1
            else:
                self._called += 1
                if self._called > self.limits.called_steps + self.limits.called_steps_a_step * self._steps:
                    text = "grows beyond all measure when its function definitions are inserted; call fewer of them"
                    raise MathError("too-large", text)
            kind = step.kind
            if kind == "name":
                node = symbols.get(step.payload) if frame.names is None else None
                values.append(self._name(step.payload, frame, renamed) if node is None else node)
            elif kind == "apply":
                first = len(values) - step.arity
                values[first:] = [OPERATORS[step.payload](self.graph, values[first:])]
            elif kind == "call":
                self._call(step, values, frames)
            else:
                values.append(self._leaf(step, frame, renamed))
        return values[-1]

    def _name(self, name: str, frame: _Frame, renamed: Mapping[str, str]) -> Node:
        if frame.names is not None:
            if name not in frame.names:
                raise MathError("unknown-id", f"uses {name!r}, which is not an argument of the function definition")
            return frame.names[name]
        if name in renamed:
            return self.graph.symbol(renamed[name])
        node = self._symbols.get(name)
        if node is None:
            if name not in self.known:
                raise MathError("unknown-id", f"uses {name!r}, which is not an id of the model that has a value")
            node = self._symbols[name] = self.graph.symbol(name)
        return node

    def _leaf(self, step: Instruction, frame: _Frame, renamed: Mapping[str, str]) -> Node:
        graph = self.graph
        if step.kind == "number":
            return literal(graph, step.payload)
        if step.kind == "constant":
            return graph.constant(step.payload)
        if step.kind == "time":
            return graph.time()
        if step.kind == "rate-of":
            target = self._name(step.payload, frame, renamed)
            if graph.op(target) is not Op.SYMBOL:
                raise MathError("rate-of", "uses rateOf of something that is not an id")
            return graph.symbol(rate_of(graph.name(target)))
        if step.kind == "past" and (self.past is None or frame.names is not None):
            raise MathError(*_DELAY)
        if step.kind == "past":
            assert self.past is not None
            name, by = step.payload
            self._name(name, frame, renamed)
            symbol = f"delay({name}, {by})"
            self.past[symbol] = (name, by)
            return graph.symbol(symbol)
        code, message = step.payload
        raise MathError(code, message)

    def _call(self, step: Instruction, values: list[Node], frames: list[_Frame]) -> None:
        function = self.functions.get(step.payload)
        if function is None:
            raise MathError("unknown-function", f"calls {step.payload!r}, which is not a function definition")
        first = len(values) - step.arity
        arguments = tuple(values[first:])
        del values[first:]
        if len(arguments) != len(function.arguments):
            raise MathError(
                "wrong-arguments",
                f"calls {step.payload!r} with {len(arguments)} arguments; it takes {len(function.arguments)}",
            )
        if function.body is None:
            raise MathError("no-math", f"calls {step.payload!r}, a function definition without mathematics")
        key = (step.payload, arguments)
        known = self._calls.get(key)
        if known is not None:
            values.append(known)
            return
        if any(frame.key is not None and frame.key[0] == step.payload for frame in frames):
            raise MathError("circular-function", f"calls {step.payload!r}, which calls itself")
        frames.append(_Frame(function.body, dict(zip(function.arguments, arguments, strict=True)), key))
