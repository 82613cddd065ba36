"""Systems as SymPy expressions, and back: where a Python modeller goes on by hand.

SymPy is imported only when this is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from sbmlump.errors import Reason, UsageError
from sbmlump.model.graph import Graph, Node, Op
from sbmlump.model.names import claim_id
from sbmlump.model.system import Assigned, Constant, OdeSystem, Origin, Quantity, SympySystem

if TYPE_CHECKING:
    import sympy

__all__ = ["from_sympy", "to_sympy"]

_FUNCTIONS: Final[Mapping[str, str]] = {
    "exp": "exp", "ln": "log", "abs": "Abs", "floor": "floor", "ceiling": "ceiling", "factorial": "factorial",
    "sin": "sin", "cos": "cos", "tan": "tan", "sec": "sec", "csc": "csc", "cot": "cot",
    "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "sech": "sech", "csch": "csch", "coth": "coth",
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arcsec": "asec", "arccsc": "acsc", "arccot": "acot",
    "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh", "arcsech": "asech", "arccsch": "acsch",
    "arccoth": "acoth", "min": "Min", "max": "Max", "rem": "Mod",
    "lt": "StrictLessThan", "leq": "LessThan", "gt": "StrictGreaterThan", "geq": "GreaterThan", "eq": "Equality",
    "neq": "Unequality", "and": "And", "or": "Or", "not": "Not", "xor": "Xor",
}  # fmt: skip
"""Names of the graph, and SymPy's classes."""
_CONSTANTS: Final[Mapping[str, str]] = {
    "pi": "pi", "exponentiale": "E", "infinity": "oo", "notanumber": "nan", "true": "true", "false": "false",
}  # fmt: skip


def to_sympy(system: OdeSystem) -> SympySystem:
    """A system as SymPy expressions; numbers are exact rationals.

    Raises
    ------
    UsageError
        Code ``no-sympy-form`` if it has events, which are no expressions, or uses ``quotient``.
    """
    import sympy

    if system.events:
        raise UsageError(Reason("no-sympy-form", f"model {system.id} has events, which expressions do not hold"))
    graph = system.graph
    constants = [c for c in system.constants if c.value is not None]
    roots = [*system.rhs, *system.initial, *(one.value for one in system.assigned)]
    roots += [c.value for c in constants if c.value is not None]
    taken = {*system.taken_ids}
    time = sympy.Symbol(claim_id("t", taken), real=True)
    names = {*system.definitions, *graph.symbols(roots)}
    symbols = {name: sympy.Symbol(name, real=True) for name in names}
    image = dict(zip(roots, _expressions(graph, roots, symbols, time), strict=True))
    return SympySystem(
        tuple(symbols[name] for name in system.states),
        time,
        tuple(image[node] for node in system.rhs),
        tuple(image[node] for node in system.initial),
        {symbols.get(c.id, sympy.Symbol(c.id, real=True)): _value(image, c) for c in system.constants},
        {symbols[one.id]: image[one.value] for one in system.assigned},
    )


def _value(image: Mapping[Node, sympy.Expr], constant: Constant) -> sympy.Expr | None:
    return None if constant.value is None else image[constant.value]


def _expressions(
    graph: Graph, roots: Sequence[Node], symbols: Mapping[str, sympy.Symbol], time: sympy.Symbol
) -> list[Any]:
    """Each node once, from the leaves up: a shared part is made once."""
    import sympy

    made: dict[Node, Any] = {}
    for node in sorted(graph.reachable(roots)):  # arguments have smaller numbers
        args = [made[arg] for arg in graph.args(node)]
        match graph.op(node):
            case Op.NUMBER:
                value = graph.number_of(node)
                assert value is not None
                made[node] = sympy.Rational(value.numerator, value.denominator)
            case Op.SYMBOL:
                made[node] = symbols[graph.name(node)]
            case Op.TIME:
                made[node] = time
            case Op.CONSTANT:
                made[node] = getattr(sympy, _CONSTANTS[graph.name(node)])
            case Op.ADD:
                made[node] = sympy.Add(*args)
            case Op.MUL:
                made[node] = sympy.Mul(*args)
            case Op.DIV:
                made[node] = args[0] / args[1]
            case Op.POW:
                made[node] = args[0] ** args[1]
            case Op.PIECEWISE:
                pieces = list(zip(args[:-1:2], args[1::2], strict=True))
                made[node] = sympy.Piecewise(*pieces, (args[-1], True))
            case _:
                name = graph.name(node)
                if name not in _FUNCTIONS:
                    raise UsageError(Reason("no-sympy-form", f"SymPy has no function for {name}", name))
                made[node] = getattr(sympy, _FUNCTIONS[name])(*args)
    return [made[root] for root in roots]


def from_sympy(
    states: Sequence[sympy.Symbol],
    rhs: Sequence[Any],
    *,
    initial: Mapping[sympy.Symbol, Any] | Sequence[Any],
    constants: Mapping[sympy.Symbol, Any] | None = None,
    observables: Mapping[sympy.Symbol, Any] | None = None,
    time: sympy.Symbol | None = None,
    id: str = "model",
) -> OdeSystem:
    """The system dx/dt = rhs.

    Parameters
    ----------
    states : sequence of Symbol
    rhs : sequence of Expr
        One for each state.
    initial : mapping or sequence
        Values at time 0, numbers or expressions of constants.
    constants : mapping, optional
        Values of all further symbols.
    observables : mapping, optional
        Names of expressions that can be observed.
    time : Symbol, optional
        What stands for time.
    id : str
        Of the model.

    Raises
    ------
    UsageError
        Code ``bad-system``: numbers of expressions that do not fit, symbols without a meaning, functions that are not
        known, floating-point numbers that are not finite.
    """
    import sympy

    constants, observables = constants or {}, observables or {}
    if len(states) != len(rhs) or len(states) != len(initial):
        message = f"{len(states)} states, {len(rhs)} right-hand sides and {len(initial)} initial values do not fit"
        raise UsageError(Reason("bad-system", message))
    at_start = [initial[one] for one in states] if isinstance(initial, Mapping) else list(initial)
    known = [*states, *constants, *observables]
    ids = [symbol.name for symbol in known]
    double = next((name for name in ids if ids.count(name) > 1), None)
    if double is not None:
        raise UsageError(Reason("bad-system", f"{double} has two meanings", double))
    graph = Graph()
    table = {symbol: graph.symbol(symbol.name) for symbol in known}
    if time is not None:
        table[time] = graph.time()
    given = [*rhs, *at_start, *constants.values(), *observables.values()]
    nodes = iter(_nodes(graph, [sympy.sympify(one) for one in given], table))
    right = tuple(next(nodes) for _ in rhs)
    begin = tuple(next(nodes) for _ in at_start)
    values = [Constant(symbol.name, node := next(nodes), graph.number_of(node) is None) for symbol in constants]
    views = [Assigned(symbol.name, next(nodes)) for symbol in observables]
    opened: dict[Node, Node] = {}
    for number, one in enumerate(views):  # each may mention those before it
        (value,) = graph.substitute([one.value], opened)
        late = graph.symbols([value]) & {view.id for view in views[number:]}
        if late:
            raise UsageError(
                Reason("bad-system", f"{one.id} mentions {min(late)}, which comes later or is itself", one.id)
            )
        views[number] = Assigned(one.id, value)
        opened[graph.symbol(one.id)] = value
    return OdeSystem(
        graph,
        tuple(symbol.name for symbol in states),
        begin,
        tuple(graph.substitute(list(right), opened)) if opened else right,
        tuple(values),
        tuple(views),
        id=id,
        quantities={name: Quantity(name, "parameter") for name in ids},
        origin=Origin("sympy"),
    )


def _nodes(graph: Graph, roots: Iterable[Any], table: Mapping[sympy.Symbol, Node]) -> list[Node]:
    import sympy

    back = {getattr(sympy, theirs): ours for ours, theirs in _FUNCTIONS.items()}
    fixed = {getattr(sympy, theirs): ours for ours, theirs in _CONSTANTS.items()}
    made: dict[Any, Node] = {}

    def leaf(one: Any) -> Node | None:
        if one in table:
            return table[one]
        if one in fixed and not one.is_Rational:
            return graph.constant(fixed[one])
        if one.is_Rational:
            return graph.number(Fraction(int(one.p), int(one.q)))
        if one.is_Float:
            return graph.number(Fraction(repr(float(one))))
        if one.is_Symbol:
            raise UsageError(Reason("bad-system", f"the symbol {one} is no state, constant or observable", str(one)))
        return None

    def inner(one: Any, args: list[Node]) -> Node:
        if one.is_Add:
            return graph.add(args)
        if one.is_Mul:
            return graph.mul(args)
        if one.is_Pow:
            return graph.pow(args[0], args[1])
        if one.func not in back:
            raise UsageError(Reason("bad-system", f"{one.func.__name__} is no function that is known"))
        return graph.call(back[one.func], args)

    for root in roots:
        for one in sympy.postorder_traversal(root):
            if one in made or isinstance(one, sympy.Tuple):
                continue
            if isinstance(one, sympy.Piecewise):
                pieces = [(made[value], made[condition]) for value, condition in one.args]
                *first, last = pieces
                sure = one.args[-1][1] is sympy.true
                made[one] = graph.piecewise(first, last[0]) if sure else graph.piecewise(pieces)
                continue
            node = leaf(one)
            made[one] = inner(one, [made[arg] for arg in one.args]) if node is None else node
    return [made[root] for root in roots]
