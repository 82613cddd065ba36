"""Strategies of hypothesis for expressions and systems, and exact reference values to hold results against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from hypothesis import strategies as st
from one_sided import row_additions
from sbml.read_models import compartment, event, listed, math, parameter, reaction, rule, sbml, species

from sbmlump.examples import network_from_reactions
from sbmlump.model import FUNCTIONS, LOGIC, RELATIONS, Assigned, Constant, Graph, Node, OdeSystem, Op

SMOOTH = ("exp", "sin", "cos", "arctan", "tanh")
"""Functions that are smooth and finite for every real argument (exp may still overflow)."""

JUMPING = ("abs", "floor", "ceiling", "min", "max")
"""Functions with kinks or jumps."""

small_fractions = st.builds(Fraction, st.integers(-9, 9), st.integers(1, 6))
"""Rationals with small numerator and denominator."""

nonzero_fractions = small_fractions.filter(bool)


@dataclass(frozen=True)
class Expression:
    """A random expression: its graph, its root, and the ids it may mention."""

    graph: Graph
    root: Node
    names: tuple[str, ...]


@dataclass(frozen=True)
class HiddenSystem:
    """A small system inside a large one.

    ``system`` has states x1 … xn; its combinations ``rows`` (m of them, over Q) follow ``small`` (states y1 … ym)
    exactly; ``observable`` is the first row as text, so that observing it needs at most m dimensions.
    """

    system: OdeSystem
    small: OdeSystem
    rows: tuple[Mapping[str, Fraction], ...]
    observable: str


@st.composite
def expressions(
    draw: st.DrawFn,
    names: Sequence[str] = ("x", "y", "z"),
    *,
    max_steps: int = 20,
    division: bool = True,
    functions: Sequence[str] = (),
    time: bool = False,
) -> Expression:
    """A random expression with shared parts, built from the leaves upwards.

    Parameters
    ----------
    names : sequence of str
        Symbols that may appear.
    max_steps : int
        Number of operations at most.
    division : bool
        Allow quotients and negative powers; the value may then be undefined somewhere or everywhere.
    functions : sequence of str
        Names of functions that may be called, for example :data:`SMOOTH`.
    time : bool
        Let the time symbol appear.
    """
    graph = Graph()
    pool = [graph.symbol(name) for name in names]
    pool += [graph.number(value) for value in draw(st.lists(small_fractions, min_size=1, max_size=3))]
    if time:
        pool.append(graph.time())
    kinds = ["add", "add", "mul", "mul", "sub", "pow"] + ["div"] * division + ["call"] * bool(functions)
    for kind in draw(st.lists(st.sampled_from(kinds), max_size=max_steps)):
        pick = st.integers(0, len(pool) - 1).map(pool.__getitem__)
        if kind in ("add", "mul"):
            pool.append(getattr(graph, kind)(draw(st.lists(pick, min_size=2, max_size=4))))
        elif kind in ("sub", "div"):
            pool.append(getattr(graph, kind)(draw(pick), draw(pick)))
        elif kind == "pow":
            pool.append(graph.pow(draw(pick), graph.number(draw(st.integers(-2 if division else 0, 3)))))
        else:
            name = draw(st.sampled_from(list(functions)))
            count = 2 if name in ("min", "max", "rem", "quotient") else 1
            pool.append(graph.call(name, [draw(pick) for _ in range(count)]))
    return Expression(graph, pool[-1], tuple(names))


wide_numbers = st.one_of(
    small_fractions,
    st.integers(-(10**20), 10**20).map(Fraction),
    st.fractions(max_denominator=10**9),
    st.floats(allow_nan=False, allow_infinity=False, min_value=-1e250, max_value=1e250)
    .filter(lambda value: value == 0 or abs(value) > 1e-250)
    .map(lambda value: Fraction(repr(value))),
)
"""Numbers of all sizes: quotients, long integers, doubles of 17 digits and of large exponents."""


@st.composite
def any_expressions(draw: st.DrawFn, graph: Graph, names: Sequence[str], *, max_steps: int = 8) -> Node:
    """An expression with everything there is: each function and operator, powers of powers, negative bases, conditions,
    named constants, time.
    """
    pool = [graph.symbol(name) for name in names]
    pool += [graph.number(value) for value in draw(st.lists(wide_numbers, min_size=1, max_size=3))]
    pool += [graph.time(), graph.constant("pi"), graph.constant("exponentiale")]
    pool += [graph.constant(name) for name in draw(st.lists(st.sampled_from(["infinity", "notanumber"]), max_size=1))]
    truths = [graph.constant("true"), graph.constant("false")]
    kinds = ["add", "mul", "sub", "neg", "div", "pow", "pow", "call", "call", "relation", "logic", "piecewise"]
    pick = st.deferred(lambda: st.integers(0, len(pool) - 1).map(pool.__getitem__))
    truth = st.deferred(lambda: st.integers(0, len(truths) - 1).map(truths.__getitem__))
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=max_steps)):
        if kind in ("add", "mul"):
            pool.append(getattr(graph, kind)(draw(st.lists(pick, min_size=2, max_size=4))))
        elif kind == "neg":
            pool.append(graph.neg(draw(pick)))
        elif kind in ("sub", "div", "pow"):
            pool.append(getattr(graph, kind)(draw(pick), draw(pick)))
        elif kind == "call":
            name = draw(st.sampled_from(sorted(FUNCTIONS)))
            count = 2 if name in ("rem", "quotient") else draw(st.integers(1, 3)) if name in ("min", "max") else 1
            pool.append(graph.call(name, [draw(pick) for _ in range(count)]))
        elif kind == "relation":
            truths.append(graph.call(draw(st.sampled_from(sorted(RELATIONS))), [draw(pick), draw(pick)]))
        elif kind == "logic":
            name = draw(st.sampled_from(sorted(LOGIC)))
            count = 1 if name == "not" else draw(st.integers(2, 3))
            truths.append(graph.call(name, [draw(truth) for _ in range(count)]))
        else:
            pieces = draw(st.lists(st.tuples(pick, truth), min_size=1, max_size=2))
            pool.append(graph.piecewise(pieces, draw(st.none() | pick)))
    return pool[-1]


@st.composite
def systems_of_anything(
    draw: st.DrawFn, *, words: Sequence[str] = (), expressions: int = 12, smooth: bool = False
) -> OdeSystem:
    """A system with random assigned quantities, right-hand sides, initial values and constants.

    Parameters
    ----------
    words : sequence of str
        Ids are drawn from these, beside plain ones.
    expressions : int
        Assigned quantities, each an expression of its own.
    smooth : bool
        Leave out what formats without conditions cannot say: relations, logic, branches.
    """
    graph = Graph()
    plain = [f"{letter}{i}" for letter in "xkq" for i in range(expressions + 4)]
    ids = draw(
        st.lists(st.sampled_from([*words, *plain]), min_size=expressions + 4, max_size=expressions + 4, unique=True)
    )
    states, constants, assigned = ids[:2], ids[2:4], ids[4:]
    inside = any_expressions(graph, [*states, *constants])
    if smooth:
        inside = inside.filter(lambda node: not _has_conditions(graph, node))
    numbers = wide_numbers.map(graph.number)
    return OdeSystem(
        graph,
        tuple(states),
        (draw(numbers), draw(numbers | st.just(graph.mul((graph.number(2), graph.symbol(constants[0])))))),
        (draw(inside), draw(inside)),
        constants=(Constant(constants[0], draw(numbers)), Constant(constants[1], draw(numbers))),
        assigned=tuple(Assigned(name, draw(inside)) for name in assigned),
        id="anything",
    )


def _has_conditions(graph: Graph, node: Node) -> bool:
    return any(
        graph.op(one) is Op.PIECEWISE
        or (graph.op(one) is Op.CALL and graph.name(one) in RELATIONS | LOGIC)
        or (graph.op(one) is Op.CONSTANT and graph.name(one) in ("true", "false", "infinity", "notanumber"))
        for one in graph.reachable([node])
    )


@st.composite
def polynomial_systems(
    draw: st.DrawFn,
    *,
    min_states: int = 1,
    max_states: int = 4,
    max_degree: int = 2,
    max_terms: int = 4,
    prefix: str = "y",
) -> OdeSystem:
    """A system with sparse polynomial right-hand sides and small integer coefficients."""
    n = draw(st.integers(min_states, max_states))
    graph = Graph()
    names = [f"{prefix}{i + 1}" for i in range(n)]
    rhs = [draw(_polynomials(graph, names, max_degree, max_terms)) for _ in names]
    start = [graph.number(draw(st.integers(-3, 3))) for _ in names]
    return OdeSystem(graph=graph, states=tuple(names), initial=tuple(start), rhs=tuple(rhs), id="random")


@st.composite
def hidden_systems(
    draw: st.DrawFn, *, max_small: int = 3, max_extra: int = 4, max_degree: int = 2, turns: int = 8
) -> HiddenSystem:
    """Hide a random small system in a larger one by a random invertible integer change of variables.

    With z = (y, w), where y follows the small system and w anything at all that may depend on y and w, the large
    system is that of x = Tz. T is a product of elementary integer operations, so its inverse is integer too.
    """
    small = draw(polynomial_systems(max_states=max_small, max_degree=max_degree))
    m = small.size
    extra = draw(st.integers(1, max_extra))
    n = m + extra
    graph = Graph()
    inner = [*small.states, *(f"w{i + 1}" for i in range(extra))]
    z_rates = graph.transplant(small.graph, small.rhs, {})
    z_rates += [draw(_polynomials(graph, inner, max_degree, 3)) for _ in range(extra)]
    forwards, backwards = draw(_unimodular(n, turns))
    names = [f"x{i + 1}" for i in range(n)]
    outer = [graph.symbol(name) for name in names]

    def combine(row: Sequence[int], nodes: Sequence[Node]) -> Node:
        return graph.add(graph.mul((graph.number(c), node)) for c, node in zip(row, nodes, strict=True) if c)

    mapping = {graph.symbol(name): combine(row, outer) for name, row in zip(inner, backwards, strict=True)}
    moved = graph.substitute(z_rates, mapping)
    start = [int(value) for value in small.initial_state()] + draw(
        st.lists(st.integers(-3, 3), min_size=extra, max_size=extra)
    )
    system = OdeSystem(
        graph=graph,
        states=tuple(names),
        initial=tuple(graph.number(sum(c * s for c, s in zip(row, start, strict=True))) for row in forwards),
        rhs=tuple(combine(row, moved) for row in forwards),
        id="hidden",
    )
    rows = tuple({name: Fraction(c) for name, c in zip(names, row, strict=True) if c} for row in backwards[:m])
    return HiddenSystem(system, small, rows, linear_text(rows[0]))


@st.composite
def mass_action_networks(
    draw: st.DrawFn, *, max_species: int = 5, max_reactions: int = 8, closed: bool = False
) -> OdeSystem:
    """A random mass-action network of reactions with at most two molecules a side.

    ``closed`` leaves out reactions that make something of nothing or the other way round.
    """
    species = [f"A{i + 1}" for i in range(draw(st.integers(2, max_species)))]
    side = st.lists(st.sampled_from(species), min_size=1 if closed else 0, max_size=2)
    reactions = []
    for left, right in draw(st.lists(st.tuples(side, side), min_size=1, max_size=max_reactions)):
        if sorted(left) != sorted(right):
            rate = draw(st.builds(Fraction, st.integers(1, 9), st.integers(1, 4)))
            reactions.append((f"{' + '.join(left)} -> {' + '.join(right)}", rate))
    start = {name: draw(st.integers(0, 5)) for name in species}
    return network_from_reactions(reactions, initial=start)


def linear_text(row: Mapping[str, Fraction]) -> str:
    """A combination as the command line takes it, such as ``A + 2*B - 1/2*C``."""
    parts: list[str] = []
    for name, value in row.items():
        sign = "-" if value < 0 else "+" if parts else ""
        factor = "" if abs(value) == 1 else f"{abs(value)}*"
        parts.append(f"{sign} {factor}{name}" if parts else f"{sign}{factor}{name}")
    return " ".join(parts)


def exact_value(
    graph: Graph, root: Node, values: Mapping[str, Fraction], time: Fraction = Fraction(0)
) -> Fraction | None:
    """Value of a rational expression by plain arithmetic on Fractions; ``None`` where it has none.

    Written without the levelled program, to be held against it. Integer exponents only, no functions.
    """
    at: dict[Node, Fraction] = {}
    for node in graph.reachable([root]):
        args = [at[arg] for arg in graph.args(node)]
        op = graph.op(node)
        if op is Op.NUMBER:
            number = graph.number_of(node)
            assert number is not None
            at[node] = number
        elif op is Op.SYMBOL:
            at[node] = values[graph.name(node)]
        elif op is Op.TIME:
            at[node] = time
        elif op is Op.ADD:
            at[node] = sum(args, Fraction(0))
        elif op is Op.MUL:
            product = Fraction(1)
            for arg in args:
                product *= arg
            at[node] = product
        elif op is Op.DIV:
            if not args[1]:
                return None
            at[node] = args[0] / args[1]
        elif op is Op.POW:
            if args[1].denominator != 1:
                raise ValueError("only integer exponents have an exact value here")
            if not args[0] and args[1] < 0:
                return None
            at[node] = args[0] ** int(args[1])
        else:
            raise ValueError(f"{op.name} has no exact value here")
    return at[root]


@st.composite
def _polynomials(draw: st.DrawFn, graph: Graph, names: Sequence[str], max_degree: int, max_terms: int) -> Node:
    """A sparse polynomial; the zero polynomial is possible."""
    symbol = st.sampled_from(list(names))
    monomial = st.lists(symbol, max_size=max_degree)
    terms = draw(st.lists(st.tuples(st.integers(-3, 3), monomial), max_size=max_terms))
    return graph.add(graph.mul((graph.number(c), *map(graph.symbol, factors))) for c, factors in terms)


@st.composite
def _unimodular(draw: st.DrawFn, n: int, turns: int) -> tuple[list[list[int]], list[list[int]]]:
    """A random integer matrix of determinant ±1 and its inverse: row additions, remembered both ways."""
    index = st.integers(0, n - 1)
    steps = draw(st.lists(st.tuples(index, index, st.integers(-2, 2)), max_size=turns))
    return row_additions(n, [(i, j, c) for i, j, c in steps if i != j])


@st.composite
def event_models(draw: st.DrawFn) -> str:
    """SBML of a small network with one to three events that may meet.

    A and B decay into C at one rate, so that A + B is a lump of C's model; P ⇌ Q is closed in half of the models. The
    compartment of A, B and C may be resized, itself or by a rule from v; events have delays, priorities that are all
    different, values of either moment, and triggers that are not persistent.
    """
    by_rule = draw(st.booleans())
    resized = draw(st.booleans())
    size = "c" if not by_rule else "v"
    closed = draw(st.booleans())
    pools = ["A", "B", "C"]
    targets = [*pools, "P", "Q", "d", *([size] if resized else [])]
    values = {
        name: ["2", f"{name} + 1", "A", "B", "A + B", "C", "0.5*B", "d", f"{name} + 0.25*d", "P + Q"]
        for name in (*pools, "P", "Q")
    }
    values["d"] = ["3", "d + 1", "A + B", "2*d"]
    values[size] = ["4", f"2*{size}", f"{size} + 0.5"]
    moves = [{"A": "A - 0.2", "B": "B + 0.2"}, {"A": "B", "B": "A"}, {"P": "P + 0.5*Q", "Q": "0.5*Q"}, {"P": "P"}]
    triggers = ["time > 1", "time > 1.5", "time > 1 && time < 1.6", "C > 0.4", "A + B < 2", "time > 1 && C > 0.2"]
    events = []
    priorities = draw(st.permutations(["1", "2", "3 + A + B"]))
    for number in range(draw(st.integers(1, 3))):
        sets = dict(draw(st.sampled_from(moves))) if draw(st.booleans()) else {}
        for name in draw(st.lists(st.sampled_from(targets), max_size=2, unique=True)):
            sets[name] = draw(st.sampled_from(values[name]))
        if size in sets:
            sets[size] = sets.pop(size)  # libRoadRunner resizes before it comes to what follows
        delay = draw(st.sampled_from(["", "", "0.5", "0.75", "0.2*d"]))
        more = f"<priority>{math(priorities[number])}</priority>"
        more += f"<delay>{math(delay)}</delay>" if delay else ""
        flags = (
            f'initialValue="{draw(st.sampled_from(["true", "false"]))}" '
            f'persistent="{draw(st.sampled_from(["true", "true", "false"]))}"'
        )
        one = event(draw(st.sampled_from(triggers)), sets, more=more, flags=flags, use=draw(st.booleans()))
        events.append(one.replace('<event id="e"', f'<event id="e{number + 1}"'))
    where = compartment("c", None if by_rule else "2", constant=not (resized or by_rule))
    return sbml(
        listed("Compartments", where)
        + listed(
            "Species",
            species("A"),
            species("B", 'initialConcentration="1.5"'),
            species("C", 'initialConcentration="0.1"'),
            species("P", 'initialAmount="2"', amounts=True),
            species("Q", 'initialAmount="1"', amounts=True),
        )
        + listed("Parameters", parameter("d", "0.5", constant=False), parameter("v", "2", constant=False))
        + (listed("Rules", rule("assignmentRule", "c", "v")) if by_rule else "")
        + listed(
            "Reactions",
            reaction("r1", "A", "C", "0.5*A*c"),
            reaction("r2", "B", "C", "0.5*B*c"),
            reaction("r3", "A", "B", "0.3*A*c"),
            reaction("r4", "B", "A", "0.2*B*c"),
            reaction("r5", "C", "", "0.4*C*c"),
            reaction("r6", "P", "Q", "0.7*P"),
            reaction("r7", "Q", "P" if closed else "", "0.2*Q"),
        )
        + listed("Events", *events)
    )


@dataclass(frozen=True)
class ParametricSystem:
    """A system whose constants and initial values are computed from parameters and from each other's initial values.

    ``observe`` are texts to be kept; ``parameters`` are the constants that nothing computes.
    """

    system: OdeSystem
    observe: tuple[str, ...]
    parameters: tuple[str, ...]


@st.composite
def parametric_systems(draw: st.DrawFn) -> ParametricSystem:
    """Pools whose members decay alike and are fed by other pools, beside states that nothing observed depends on.

    Values at time 0 are drawn in a random order, each an expression of those before it: constants from states and
    states from constants. Two members of a pool may have rate constants of their own that are equal only in value.
    """
    graph = Graph()
    parameters = [f"p{i + 1}" for i in range(draw(st.integers(2, 4)))]
    blocks = [[f"x{i + 1}_{j + 1}" for j in range(draw(st.integers(1, 3)))] for i in range(draw(st.integers(1, 3)))]
    aside = [f"z{i + 1}" for i in range(draw(st.integers(0, 2)))]
    states = [*(name for block in blocks for name in block), *aside]
    computed = [f"c{i + 1}" for i in range(draw(st.integers(1, 4)))]
    positive = st.builds(Fraction, st.integers(1, 9), st.integers(1, 4))
    value: dict[str, Node] = {name: graph.number(draw(positive)) for name in parameters}
    twins = draw(st.booleans())
    if twins:  # a constant of its own with the value of another
        value["twin"] = value[parameters[0]]
        parameters.append("twin")
    known = [*parameters]
    alike = [draw(st.booleans()) for _ in blocks]  # start equal and stay so
    home = {name: i for i, block in enumerate(blocks) for name in block if alike[i]}
    first: dict[int, Node] = {}
    for name in draw(st.permutations([*states, *computed])):
        if name in home and home[name] in first:
            value[name] = first[home[name]]
        elif name in computed or draw(st.booleans()):
            value[name] = draw(_positive_formulas(graph, known))
        else:
            value[name] = graph.number(draw(positive))
        if name in home:
            first[home[name]] = value[name]
        known.append(name)
    constants = [*parameters, *computed]
    rate = st.sampled_from(constants).map(graph.symbol)
    pools = [graph.add([graph.symbol(name) for name in block]) for block in blocks]
    rhs: dict[str, Node] = {}
    for i, block in enumerate(blocks):
        decay, feed = draw(rate), draw(rate)
        source = graph.div(draw(st.sampled_from(pools)), graph.add([graph.number(1), draw(st.sampled_from(pools))]))
        shares = [draw(st.integers(0, 2)) for _ in block]
        for j, name in enumerate(block):
            own = graph.symbol("twin") if twins and j and decay == graph.symbol(parameters[0]) else decay
            gain = graph.mul((graph.number(shares[0] if alike[i] else shares[j]), feed, source))
            rhs[name] = graph.sub(gain, graph.mul((own, graph.symbol(name))))
        if i and draw(st.booleans()):
            for name in block:  # at rest
                rhs[name] = graph.number(0)
    for name in aside:
        other = graph.symbol(draw(st.sampled_from(states)))
        rhs[name] = graph.sub(graph.mul((draw(rate), other)), graph.symbol(name))
    system = OdeSystem(
        graph=graph,
        states=tuple(states),
        initial=tuple(value[name] for name in states),
        rhs=tuple(rhs[name] for name in states),
        constants=tuple(
            Constant(name, value[name], computed=name in computed and graph.number_of(value[name]) is None)
            for name in constants
        ),
        id="parametric",
    )
    observe = [" + ".join(draw(st.sampled_from(blocks)))]
    if draw(st.booleans()):
        observe.append(draw(st.sampled_from(constants)))
    return ParametricSystem(system, tuple(observe), tuple(parameters))


@st.composite
def _positive_formulas(draw: st.DrawFn, graph: Graph, names: Sequence[str]) -> Node:
    """An expression with a positive value at positive values of its symbols."""
    pick = st.sampled_from(list(names)).map(graph.symbol)
    kind = draw(st.sampled_from(["scaled", "sum", "product", "quotient", "saturating", "root"]))
    a, b, number = draw(pick), draw(pick), graph.number(draw(st.integers(1, 4)))
    if kind == "scaled":
        return graph.add([graph.mul((number, a)), graph.number(draw(st.integers(0, 2)))])
    if kind == "sum":
        return graph.add([a, graph.mul((number, b))])
    if kind == "product":
        return graph.mul((a, b))
    if kind == "quotient":
        return graph.div(graph.mul((number, a)), graph.add([a, b]))
    if kind == "saturating":
        return graph.div(a, graph.add([number, graph.mul((a, a))]))
    return graph.call("exp", [graph.neg(graph.div(a, graph.add([number, b])))])
