"""Reading and writing `.ode` files."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import exact_value, expressions, systems_of_anything

from sbmlump.cli import run
from sbmlump.errors import InputError, Reason, UnsupportedModelError
from sbmlump.examples import MULTISITE_RATES, michaelis_menten, multisite, rational_example, sir_age_groups
from sbmlump.formats import initial_partition, load_ode, parse_ode, write_ode
from sbmlump.jobs import written_system
from sbmlump.model import Assigned, Constant, Event, Graph, OdeSystem, Op, differences, parse_expression

FULL = """
begin model Full example
 /* a comment
    over lines */
 begin parameters
  k1 = 0.1   // decimal numbers are exact
  k2 = 2*k1 + 1/3
 end parameters
 begin init
  A = 10
  B = 3*k2 ("B(x~u)")
  C
  E = 5
 end init
 begin partition
  {A, B},
  {C}
 end partition
 begin reactions
  A + 2*B -> C , k1 [bind]
  C -> A + B + B , arbitrary k2*C/(1 + C) [free]
  E + A -> E , k2
  -> A, 2*k1
 end reactions
 begin views
  total = A + C
  double = 2*total
  C = C
 end views
 simulateODE(tEnd=10, viewPlot=VIEWS)
end model
"""


_WORDS = re.findall(r"\w+|\s+|[^\w\s]", FULL)
_PIECES = [*sorted({*_WORDS}), "", "->", "**", '"', "/*", "*/", "//", "'", "arbitrary", "d", "1e400", "1e5", ".", "^"]


def model(**blocks: str) -> str:
    """A file with these blocks, lines separated by semicolons."""
    lines = ["begin model m"]
    for name, content in blocks.items():
        lines += [f" begin {name}", *(f"  {line.strip()}" for line in content.split(";")), f" end {name}"]
    return "\n".join([*lines, "end model"])


def value(system: OdeSystem, name: str) -> Fraction | None:
    node = {**dict(zip(system.states, system.initial_values, strict=True)), **system.constant_values}[name]
    assert node is not None
    return system.graph.number_of(node)


def only_reason(text: str) -> tuple[str, int | None, str]:
    with pytest.raises(InputError) as caught:
        parse_ode(text, file="bad.ode")
    (reason,) = caught.value.reasons
    return reason.code, reason.line, reason.message


class TestMeaning:
    def test_names_become_states_constants_and_assigned_quantities(self):
        system = parse_ode(FULL)
        assert system.states == ("A", "B", "C", "E")
        assert [c.id for c in system.constants] == ["k1", "k2", "cell"]
        assert [a.id for a in system.assigned] == ["total", "double"]
        assert system.id == "Full_example"
        assert system.name == "Full example"

    def test_numbers_are_exact(self):
        system = parse_ode(FULL)
        assert value(system, "k1") == Fraction(1, 10)
        assert value(system, "k2") == Fraction(1, 5) + Fraction(1, 3)
        assert value(system, "B") == 3 * (Fraction(1, 5) + Fraction(1, 3))
        assert value(system, "C") == 0

    def test_rates(self):
        system = parse_ode(FULL)
        a, b, c, e = 2.0, 3.0, 5.0, 7.0
        k1, k2 = 0.1, 0.2 + 1 / 3
        bind, free = k1 * a * b**2, k2 * c / (1 + c)
        expected = [-bind + free - k2 * e * a + 2 * k1, -2 * bind + 2 * free, bind - free, 0.0]
        np.testing.assert_allclose(system.rates(0.0, [a, b, c, e]), expected, rtol=1e-14)

    def test_arbitrary_rate_is_the_whole_rate(self):
        text = model(init="X = 1; Y", reactions="3*X -> Y, {}")
        assert parse_ode(text.format("2")).rates(0.0, [5.0, 0.0]).tolist() == [-750.0, 250.0]
        assert parse_ode(text.format("arbitrary 2")).rates(0.0, [5.0, 0.0]).tolist() == [-6.0, 2.0]

    def test_views_are_inlined(self):
        system = parse_ode(FULL)
        double = system.definitions["double"]
        assert system.graph.symbols([double]) == {"A", "C"}

    def test_reactions_carry_labels_and_modifiers(self):
        system = parse_ode(FULL)
        assert [r.id for r in system.reactions] == ["bind", "free", "r3", "r4"]
        assert [(p.species, system.graph.number_of(p.stoichiometry)) for p in system.reactions[1].products] == [
            ("A", 1),
            ("B", 2),
        ]
        text = FULL.replace("arbitrary k2*C/(1 + C)", "arbitrary k2*C/(1 + E)")
        assert parse_ode(text).reactions[1].modifiers == ("E",)

    def test_a_rate_that_is_a_state_is_a_modifier(self):
        system = parse_ode(model(init="X = 1; E = 2; k = 3", reactions="X -> , E; E -> , k"))
        assert [r.modifiers for r in system.reactions] == [("E",), ()]

    def test_a_label_that_is_taken_becomes_the_name_only(self):
        system = parse_ode(FULL.replace("[bind]", "[A]"))
        assert (system.reactions[0].id, system.reactions[0].name) == ("r1", "A")

    def test_what_nothing_changes_is_a_constant(self):
        system = parse_ode(model(init="X = 1; rate = 3", reactions="X -> , rate"))
        assert system.states == ("X",)
        assert value(system, "rate") == 3

    @pytest.mark.parametrize("equation", ["d(x) = exp(-x)", "x' = exp(-x)"])
    def test_functions_are_functions(self, equation):
        system = parse_ode(model(init="x = 1", ODE=equation))
        assert system.states == ("x",)
        assert not system.constants
        assert system.graph.op(system.rhs[0]) is Op.CALL
        assert system.rates(0.0, [1.5])[0] == pytest.approx(np.exp(-1.5))

    def test_a_file_without_declarations_defines_its_names_by_their_use(self):
        system = parse_ode("begin model m\n begin reactions\n  A + B -> C, k\n end reactions\nend model")
        assert system.states == ("A", "B", "C")
        assert [(c.id, c.value) for c in system.constants][:1] == [("k", None)]
        assert value(system, "A") == 0

    def test_algebraic_variables_are_inlined(self):
        text = (
            "begin model m\n begin init\n  x = 1\n  y\n end init\n begin alg\n  y = 2*x\n end alg\n"
            " begin ODE\n  d(x) = -y\n end ODE\nend model"
        )
        system = parse_ode(text)
        assert system.states == ("x",)
        assert system.rates(0.0, [3.0]).tolist() == [-6.0]
        assert [a.id for a in system.assigned] == ["y"]

    def test_expressions_may_go_over_lines(self):
        text = "begin model m\n begin ODE\n  d(x) = 1 +\n   2*x\n    - (x\n + 3)\n  d(y) = x\n end ODE\nend model"
        assert parse_ode(text).rates(0.0, [10.0, 0.0]).tolist() == [8.0, 10.0]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("-2^2", -4.0), ("2^-2", 0.25), ("2**3**2", 512.0), ("8/4/2", 1.0), ("1 - 2 - 3", -4.0),
            ("-(1 - 2)*3", 3.0), ("1.5e-1", 0.15), (".5*4.", 2.0), ("2*-3", -6.0), ("- -3", 3.0),
            ("sqrt(9) + pow(2, 3) + abs(-1)", 12.0), ("max(1, 2, 3) - min(4, 5)", -1.0), ("log10(100)", 2.0),
            ("log(exp(1))", 1.0), ("floor(2.5) + ceil(2.5)", 5.0), ("((((7))))", 7.0),
        ],
    )  # fmt: skip
    def test_arithmetic(self, text, expected):
        system = parse_ode(f"begin model m\n begin ODE\n  d(x) = {text}\n end ODE\nend model")
        assert system.rates(0.0, [0.0])[0] == pytest.approx(expected, rel=1e-14)

    def test_line_ends_of_every_kind(self, tmp_path: Path):
        unix = parse_ode(FULL)
        for end in ("\r\n", "\r"):
            path = tmp_path / "m.ode"
            path.write_bytes(FULL.replace("\n", end).encode())
            other = load_ode(path)
            assert other.states == unix.states
            np.testing.assert_array_equal(other.rates(0.0, [1, 2, 3, 4]), unix.rates(0.0, [1, 2, 3, 4]))

    def test_where_it_came_from(self, tmp_path: Path):
        path = tmp_path / "m.ode"
        path.write_text(FULL)
        origin = load_ode(path).origin
        assert (origin.format, origin.file) == ("erode", "m.ode")
        assert origin.sha256 is not None
        assert len(origin.sha256) == 64


class TestSize:
    def test_deep_parentheses_and_long_sums(self):
        deep = "(" * 20_000 + "x" + ")" * 20_000
        long = " + ".join(["x"] * 20_000)
        system = parse_ode(f"begin model m\n begin ODE\n  d(x) = {deep}\n  d(y) = {long}\n end ODE\nend model")
        assert system.rates(0.0, [2.0, 0.0]).tolist() == [2.0, 40_000.0]
        assert system.graph.depth(system.rhs[1]) <= 3

    def test_multisite_is_the_model_built_in_python(self):
        expected = multisite(3)
        system = parse_ode(multisite_text(3))
        assert system.states == expected.states
        x = np.random.default_rng(1).uniform(0.1, 2.0, system.size)
        np.testing.assert_allclose(system.rates(0.0, x), expected.rates(0.0, x), rtol=1e-12)
        assert len(system.reactions) == 6 * 3 * 16


def multisite_text(sites: int) -> str:
    """The multisite model as an .ode file, written independently of the library."""
    steps = [
        ("a1", "U", "E", "kinase", ""), ("d1", "E", "U", "", "kinase"), ("c1", "E", "P", "", "kinase"),
        ("a2", "P", "F", "phosphatase", ""), ("d2", "F", "P", "", "phosphatase"), ("c2", "F", "U", "", "phosphatase"),
    ]  # fmt: skip
    words = ["".join(word) for word in product("UPEF", repeat=sites)]
    lines = ["begin model multisite", " begin parameters"]
    lines += [f"  {name} = {rate}" for name, rate in MULTISITE_RATES.items()]
    lines += [" end parameters", " begin init", *(f"  S_{word}" for word in words)]
    lines += ["  kinase = 2", "  phosphatase = 1", " end init", " begin reactions"]
    for word in words:
        for i, letter in enumerate(word):
            for rate, before, after, taken, freed in steps:
                if letter == before:
                    left = f"S_{word}" + (f" + {taken}" if taken else "")
                    right = f"S_{word[:i]}{after}{word[i + 1 :]}" + (f" + {freed}" if freed else "")
                    lines.append(f"  {left} -> {right} , {rate}")
    return "\n".join([*lines, " end reactions", "end model"])


class TestErrors:
    @pytest.mark.parametrize(
        ("old", "new", "code", "line", "words"),
        [
            ("k1 = 0.1 ", "k1 0.1 ", "ode-syntax", 6, "expected '=' after 'k1', found '0.1'"),
            ("k2 = 2*k1", "k2 = 2*/k1", "ode-syntax", 7, "found '/'"),
            ("-> C , k1", "-> C  k1", "ode-syntax", 20, "',' and the rate"),
            ("A + 2*B -> C", "A + -> C", "ode-syntax", 20, "the name of a species"),
            ("A + 2*B -> C", "A + 1.5*B -> C", "ode-syntax", 20, "whole number"),
            ("A + 2*B -> C , k1", "A + 2*B -> C , k3", "ode-unknown-name", 20, "did you mean k2 or k1?"),
            ("k2*C/(1 + C)", "k2*C/(1 + C", "ode-syntax", 21, "')'"),
            ("k2*C/(1 + C)", "k2*hill(C)", "ode-unknown-function", 21, "'hill' is no known function"),
            ("  C\n  E", "  C\n  A\n  E", "ode-duplicate-name", 13, "'A' is declared twice"),
            ("k1 = 0.1", "k1 = k2", "ode-circular", 6, "depends on itself"),
            ("total = A + C", "total = A + D", "ode-unknown-name", 26, "'D' is not declared"),
            ("double = 2*total", "A = 2*total", "ode-duplicate-name", 27, "'A' is defined already"),
            (" end views", "", "ode-syntax", 30, "expected '=' after 'simulateODE'"),
            ("begin views", "begin view", "ode-syntax", 25, "one of the blocks"),
            ("end model", "", "ode-syntax", 32, "the end of the file"),
            ("simulateODE(tEnd=10, viewPlot=VIEWS)", "importBNG(x)", "ode-import", 30, "from another file"),
            ("simulateODE(tEnd=10, viewPlot=VIEWS)", "simulateODE(tEnd=10", "ode-syntax", 30, "not closed"),
            ("k1 = 0.1 ", "k1 = 1e999999999 ", "ode-syntax", 6, "out of range"),
            ("k1 = 0.1 ", "k1 = 2 3 ", "ode-syntax", 6, "an operator, the next statement or the end"),
            ("/* a comment", "/* a /* comment", "", 0, ""),
            ("    over lines */", "", "ode-syntax", 3, "never ends"),
            ("begin model", "model", "ode-syntax", 2, "'begin model'"),
            ("end model\n", "end model\n and more", "ode-syntax", 32, "nothing after"),
            ("k1 = 0.1 ", "k1 = arbitrary ", "ode-syntax", 6, "a number or a name"),
        ],
    )  # fmt: skip
    def test_one_reason_with_the_place(self, old, new, code, line, words):
        assert old in FULL
        text = FULL.replace(old, new, 1)
        if not code:
            parse_ode(text)
            return
        found = only_reason(text)
        assert found[:2] == (code, line), found
        assert words in found[2]
        assert f"bad.ode, line {line}" in found[2]

    @pytest.mark.parametrize(
        "text", ["", "\n\n", "<sbml/>", "\x00\x01", "begin", "begin model", "begin model m\nbegin"]
    )
    def test_what_is_no_model_at_all(self, text):
        assert only_reason(text)[0] == "ode-syntax"

    def test_every_beginning_of_a_file_is_refused_in_one_sentence(self):
        complete = FULL.rstrip().removesuffix("end model")
        for cut in range(len(complete)):
            assert only_reason(FULL[:cut])[0].startswith("ode-")

    @given(st.lists(st.tuples(st.integers(0, 10_000), st.sampled_from(_PIECES)), min_size=1, max_size=3))
    def test_damaged_files_are_read_or_refused_with_a_line(self, changes):
        words = list(_WORDS)
        for place, piece in changes:
            words[place % len(words)] = piece
        reasons: tuple[Reason, ...] = ()
        try:
            parse_ode("".join(words))
        except InputError as error:
            reasons = error.reasons
        assert len(reasons) <= 1
        assert all(reason.line is not None for reason in reasons)

    def test_a_parameter_may_not_change(self):
        text = model(parameters="k = 1", reactions="k -> , 1")
        assert only_reason(text)[:2] == ("ode-duplicate-name", 3)

    def test_two_equations(self):
        text = "begin model m\n begin ODE\n  x' = 1\n  d(x) = 2\n end ODE\nend model"
        assert only_reason(text)[:2] == ("ode-duplicate-name", 4)

    def test_a_function_without_arguments_is_no_quantity(self):
        assert only_reason("begin model m\n begin ODE\n  x' = exp\n end ODE\nend model")[:2] == ("ode-unknown-name", 3)

    def test_files_that_cannot_be_opened(self, tmp_path: Path):
        for path, code in ((tmp_path / "none.ode", "no-such-file"), (tmp_path, "is-a-directory")):
            with pytest.raises(InputError) as caught:
                load_ode(path)
            assert caught.value.reasons[0].code == code


class TestPartition:
    def test_blocks_and_the_rest(self, tmp_path: Path):
        path = tmp_path / "m.ode"
        path.write_text(FULL)
        assert initial_partition(path) == (frozenset("AB"), frozenset("C"), frozenset("E"))

    @pytest.mark.parametrize(
        ("block", "code"), [("{A, Z}", "ode-unknown-name"), ("{A, A}", "ode-duplicate-name"), ("{A B}", "ode-syntax")]
    )
    def test_errors(self, tmp_path: Path, block, code):
        path = tmp_path / "m.ode"
        path.write_text(FULL.replace("{A, B}", block))
        with pytest.raises(InputError) as caught:
            initial_partition(path)
        assert (caught.value.reasons[0].code, caught.value.reasons[0].line) == (code, 16)


def same_rates(one: OdeSystem, two: OdeSystem, seed: int = 0) -> None:
    assert one.states == two.states
    np.testing.assert_allclose(two.initial_state(), one.initial_state(), rtol=1e-15)
    x = np.random.default_rng(seed).uniform(0.2, 1.5, (5, one.size))
    np.testing.assert_allclose(two.rates(0.0, x), one.rates(0.0, x), rtol=1e-11, atol=1e-12)


class TestWriting:
    @pytest.mark.parametrize(
        "system", [multisite(2), michaelis_menten(), rational_example(), sir_age_groups(3), parse_ode(FULL)]
    )
    def test_what_is_written_is_read_again(self, system):
        again = parse_ode(write_ode(system).decode())
        same_rates(system, again)
        names = {c.id for c in system.constants} - {"cell"}
        assert {c.id for c in again.constants} == names
        for name in names:
            assert value(again, name) == value(system, name)

    def test_writing_is_a_fixed_point(self):
        once = write_ode(parse_ode(FULL.replace("Full example", "Full")))
        assert write_ode(parse_ode(once.decode())) == once

    @given(expressions(("x", "y"), functions=("exp", "sin", "arctan", "tanh", "abs", "floor", "min", "max")))
    def test_any_expression_comes_back(self, expression):
        graph: Graph = expression.graph
        zero = graph.number(0)
        system = OdeSystem(graph, ("x", "y"), (zero, graph.number(Fraction(1, 3))), (expression.root, zero))
        if any(graph.is_undefined(node) for node in graph.reachable([expression.root])):
            return
        again = parse_ode(write_ode(system).decode())
        x = np.random.default_rng(0).uniform(0.3, 1.4, (4, 2))
        expected, found = system.rates(0.0, x)[:, 0], again.rates(0.0, x)[:, 0]
        close = np.isclose(found, expected, rtol=1e-9, atol=1e-9) | ~np.isfinite(expected)
        jumps = {"floor"} & {graph.name(n) for n in graph.reachable([expression.root]) if graph.op(n) is Op.CALL}
        assert close.all() or jumps  # an argument of floor may fall to either side of a jump

    @pytest.mark.parametrize(
        "number", [Fraction(1, 3), Fraction(-1, 3), Fraction(1, 10**9), Fraction(7, 2**30), Fraction(10**30, 7)]
    )
    def test_numbers_are_exact(self, number):
        graph = Graph()
        constants = (Constant("k", graph.number(number)),)
        system = OdeSystem(graph, ("x",), (graph.number(0),), (graph.symbol("k"),), constants)
        assert value(parse_ode(write_ode(system).decode()), "k") == number

    def test_time_becomes_a_clock(self):
        graph = Graph()
        x = graph.symbol("x")
        rhs = graph.mul((graph.time(), x))
        system = OdeSystem(graph, ("x",), (graph.number(1),), (rhs,))
        again = parse_ode(write_ode(system).decode())
        assert again.states == ("x", "time")
        assert again.rates(0.0, [3.0, 2.0]).tolist() == [6.0, 1.0]

    def test_what_has_no_words_is_refused(self):
        graph = Graph()
        x, one = graph.symbol("x"), graph.number(1)
        condition = graph.call("gt", (x, one))
        rhs = graph.piecewise([(x, condition)], one)
        event = Event(condition, (("x", one),), id="jump")
        missing = (Constant("c", None),)
        system = OdeSystem(graph, ("x",), (graph.symbol("c"),), (rhs,), missing, events=(event,))
        with pytest.raises(UnsupportedModelError) as caught:
            write_ode(system)
        assert {r.code for r in caught.value.reasons} == {"ode-not-expressible"}
        text = str(caught.value)
        assert "jump" in text
        assert "piecewise" in text
        assert "initial value of x" in text

    def test_constants_without_a_value_stay_without(self):
        system = parse_ode("begin model m\n begin ODE\n  d(x) = -k*x\n end ODE\nend model")
        again = parse_ode(write_ode(system).decode())
        assert [(c.id, c.value) for c in again.constants] == [("k", None)]

    def test_initial_assignments_over_states_are_resolved(self):
        graph = Graph()
        one = graph.number(1)
        start = (one, graph.mul((graph.number(2), graph.symbol("x"))))
        system = OdeSystem(
            graph, ("x", "y"), start, (one, one), assigned=(Assigned("s", graph.add(map(graph.symbol, "xy"))),)
        )
        again = parse_ode(write_ode(system).decode())
        assert again.initial_state().tolist() == [1.0, 2.0]
        assert "s" in again.definitions


# -- two readings of a power, white space, words ------------------------------------------------------------------


class ErodeReading:
    """Expressions by ERODE's own grammar: a power takes a signed primary as its base and binds to the left, sums and
    differences, products and quotients have levels of their own.
    """

    def __init__(self, text: str, values: dict[str, Fraction]) -> None:
        self.words = re.findall(r"[A-Za-z_]\w*|[0-9.]+(?:E[+-]?[0-9]+)?|[^\s]", text)
        self.values = values

    def value(self) -> Fraction:
        found = self.level(0)
        assert not self.words, self.words
        return found

    def level(self, index: int) -> Fraction:
        if index == 5:
            return -self.primary() if self.taken("-") else self.primary()
        left = self.level(index + 1)
        while self.words and self.words[0] == "+-*/^"[index]:
            mark = self.words.pop(0)
            right = self.level(index + 1)
            if mark == "^":
                assert right.denominator == 1
                left = left ** int(right)
            else:
                left = {"+": left + right, "-": left - right, "*": left * right}[mark] if mark != "/" else left / right
        return left

    def primary(self) -> Fraction:
        word = self.words.pop(0)
        if word == "(":
            inside = self.level(0)
            assert self.taken(")")
            return inside
        return self.values[word] if word in self.values else Fraction(word)

    def taken(self, word: str) -> bool:
        if self.words and self.words[0] == word:
            self.words.pop(0)
            return True
        return False


VALUES = {"x": Fraction(3), "y": Fraction(-2, 3), "z": Fraction(5, 7)}


def rate_text(system: OdeSystem, name: str) -> str:
    """The right-hand side of a state as it stands in the file."""
    text = written_system(system, ".ode").data.decode()
    return re.search(rf"d\({name}\) = ((?:.|\n    )*)\n", text)[1]


@given(expressions())
def test_written_powers_mean_the_same_by_both_grammars(made):
    expected = exact_value(made.graph, made.root, VALUES)
    assume(expected is not None and max(expected.numerator.bit_length(), expected.denominator.bit_length()) < 4000)
    zero = made.graph.number(0)
    system = OdeSystem(made.graph, ("x", "y", "z"), (zero,) * 3, (made.root, zero, zero))
    assert ErodeReading(rate_text(system, "x"), VALUES).value() == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("-x^2", "signed"),
        ("1 + (-x^y)", "signed"),
        ("2^3^2", "nested"),
        ("x^-y^2", "signed"),
        ("-x^3", ""),
        ("0 - x^2", ""),
        ("-(x^2)", ""),
        ("(-x)^2", ""),
        ("(2^3)^2", ""),
        ("x^(3^2)", ""),
        ("2*x^-2", ""),
        ("-2*x^2", ""),
    ],
)
def test_what_was_assumed_of_a_power_is_said_on_reading(text, told, tmp_path, capsys):
    start = "begin model m\n begin init\n x = 2\n y = 1\n end init\n begin ODE\n"
    whole = f"{start} d(x) = {text}\n d(y) = 0\n end ODE\nend model\n"
    remarks = parse_ode(whole, file="m.ode").origin.remarks
    assert [reason.code for reason in remarks] == ["ode-power"] * bool(told)
    if told:
        words = {"signed": "-x^2 is -(x^2)", "nested": "2^3^2 is 2^9"}[told]
        assert remarks[0].message.startswith("m.ode, line 7: ")
        assert words in remarks[0].message
        (tmp_path / "m.ode").write_text(whole)
        for command in (["inspect"], ["convert", "-o", str(tmp_path / "out.xml")]):
            assert run([command[0], str(tmp_path / "m.ode"), "--json", *command[1:]]) == 0
            found = json.loads(capsys.readouterr().out)["reasons"]
            assert [one["code"] for one in found] == ["ode-power"]


def test_powers_are_read_as_in_mathematics():
    graph = parse_ode("begin model m begin init x = 3 end init begin ODE d(x) = -x^2 + 2^3^2 end ODE end model")
    assert graph.rates(0, [3.0]).tolist() == [-9.0 + 512.0]


@pytest.mark.parametrize("block", ["views", "alg", "algebraic"])
def test_plain_numbers_among_assigned_quantities_keep_their_value(block):
    text = f"""begin model m
 begin parameters
  k = 3
 end parameters
 begin init
  u = 2
 end init
 begin ODE
  d(u) = -k*u{"*a*b" if block != "views" else ""}
 end ODE
 begin {block}
  a = 7
  b = 1/4
  c = a*b*u
 end {block}
end model
"""
    system = parse_ode(text)
    values = {one.id: one.value for one in system.assigned}
    assert system.graph.number_of(values["a"]) == 7
    assert system.graph.number_of(values["b"]) == Fraction(1, 4)
    assert system.rates(0, [2.0])[0] == (-6 if block == "views" else -10.5)
    again = parse_ode(write_ode(system).decode())
    assert differences(system, again) == ()


def test_white_space_is_white_space():
    lines = """begin model spaced
 begin parameters
 k1 = 2*3
 k2 = k1/4
 end parameters
 begin init
 A = 5 ("the first")
 B
 C = k2
 end init
 begin reactions
 A -> B , k1
 2*B -> C , k2 [twice]
 C -> , arbitrary k1*C/(1 + C)
 -> A , 1
 end reactions
 begin views
 all = A + B + C
 some = A
 end views
end model
"""
    by_lines, on_one = parse_ode(lines), parse_ode(" ".join(lines.split()))
    assert on_one.size == 3
    assert differences(by_lines, on_one) == ()
    assert [reaction.id for reaction in on_one.reactions] == [reaction.id for reaction in by_lines.reactions]
    equations = "begin model m begin init x = 1 y = 2 end init begin ODE d(x) = -x d(y) = x - y end ODE end model"
    assert parse_ode(equations).rates(0, [1.0, 2.0]).tolist() == [-1.0, -1.0]
    primes = equations.replace("d(x)", "x'").replace("d(y)", "y'")
    assert parse_ode(primes).rates(0, [1.0, 2.0]).tolist() == [-1.0, -1.0]


def test_a_name_after_an_expression_is_no_silent_product():
    for wrong in ("d(x) = 2 y", "d(x) = 2 y d(y) = 1"):
        text = f"begin model m\nbegin init\nx = 1\ny = 1\nend init\nbegin ODE\n{wrong}\nend ODE\nend model"
        with pytest.raises(InputError, match="line 7"):
            parse_ode(text)
    with pytest.raises(InputError, match="line 3"):
        parse_ode("begin model m\nbegin parameters\nk = 2 mole\nend parameters\nbegin init\nx\nend init\nend model")


def test_words_of_the_format_get_another_id_and_it_is_said():
    text = "begin model m begin init {0} = 2 {1} = 3 end init begin ODE d({0}) = -{1} d({1}) = {0} end ODE end model"
    for pair in product(("begin", "end", "arbitrary", "init", "model", "d", "exp", "views"), repeat=2):
        if pair[0] == pair[1]:
            continue
        graph = Graph()
        first, second = map(graph.symbol, pair)
        system = OdeSystem(graph, pair, (graph.number(2), graph.number(3)), (graph.neg(second), first))
        written = written_system(system, ".ode")  # refused if it does not come back
        new = [re.search(r"called (\w+)$", r.message)[1] for r in written.reasons if r.code == "id-renamed"]
        assert new == [f"{name}_" for name in pair if name in ("begin", "end", "arbitrary")]
        if not new:
            assert parse_ode(text.format(*pair)).states == pair


def test_what_erode_itself_cannot_read_is_said():
    def told(text: str, extra: str = "y") -> str:
        graph = Graph()
        names = {name: graph.symbol(name) for name in ("x", extra)}
        one = graph.number(1)
        rhs = parse_expression(graph, text, names)
        system = OdeSystem(graph, ("x",), (one,), (rhs,), constants=(Constant(extra, one),))
        found = [r.message for r in written_system(system, ".ode").reasons if r.code == "ode-dialect"]
        return found[0] if found else ""

    assert "function cos, exp" in told("exp(-x) - cos(x)")
    assert "variable in its exponent" in told("2^x")
    assert "named n" in told("n*x", extra="n")
    for plain in ("x^2", "x^0.5", "sqrt(x)", "x^y", "min(x, y)", "max(x, y, 1, 2)", "abs(x)/(y - x)"):
        assert told(plain) == ""


def test_initial_values_that_follow_from_parameters_stay_formulas():
    graph = Graph()
    k, a, total, at = (graph.symbol(name) for name in ("k", "A", "total", "at"))
    system = OdeSystem(
        graph,
        ("A", "B"),
        (graph.mul((graph.number(2), k)), graph.add((a, total))),
        (graph.neg(a), a),
        constants=(Constant("k", graph.number(3)), Constant("at", graph.add((a, k)), computed=True)),
        assigned=(Assigned("total", graph.mul((k, a))),),
    )
    text = written_system(replace(system, rhs=(graph.neg(a), at)), ".ode").data.decode()
    again = parse_ode(text)
    other = again.with_values({"k": Fraction(5)})
    assert other.initial_state().tolist() == [10.0, 60.0]
    assert other.rates(0, [0.0, 0.0])[1] == 15.0


def test_it_is_said_what_is_written_with_initial_values_of_states_put_in():
    graph = Graph()
    a, k, b = (graph.symbol(name) for name in ("A", "k", "b"))
    system = OdeSystem(
        graph,
        ("A", "B"),
        (graph.number(4), graph.mul((graph.number(2), a))),
        (graph.neg(graph.mul((b, a))), a),
        constants=(Constant("k", graph.number(3)), Constant("b", graph.div(k, a), computed=True)),
    )
    written = written_system(system, ".ode")
    assert [r.message for r in written.reasons if r.code == "not-kept"] == [
        "not in the .ode file: that B, b follow from initial values of states (these are put in)"
    ]
    again = parse_ode(written.data.decode())
    assert again.with_values({"k": Fraction(8)}).rates(0, [1.0, 0.0]).tolist() == [-2.0, 1.0]  # k is no number in b
    plain = replace(system, initial=(graph.number(4), k), constants=(Constant("k", graph.number(3)), Constant("b", k)))
    assert [r.code for r in written_system(plain, ".ode").reasons] == []


@settings(max_examples=15, deadline=None)
@given(systems_of_anything(words=("begin", "end", "n", "arbitrary", "time", "exp"), expressions=3, smooth=True))
def test_anything_comes_back_or_is_refused_by_name(system):
    try:
        written_system(system, ".ode")
    except UnsupportedModelError as error:
        codes = {reason.code for reason in error.reasons}
    else:
        codes = {"ode-not-expressible"}
    assert codes == {"ode-not-expressible"}


@pytest.mark.parametrize(
    "text",
    ["e^x", "e^(x*y)", "(e + 1)^x", "e^2*x", "min(3, x, 2)", "max(1, 2, x, y)", "min(min(x, 1), 2)", "pi^x + pi"],
)
def test_one_function_in_two_spellings_is_no_difference(text):
    graph = Graph()
    names = {"x": graph.symbol("x"), "y": graph.symbol("y"), "e": graph.constant("exponentiale")}
    names["pi"] = graph.constant("pi")
    one = graph.number(1)
    system = OdeSystem(graph, ("x", "y"), (one, one), (parse_expression(graph, text, names), one))
    again = parse_ode(written_system(system, ".ode").data.decode())
    same_rates(system, again)


def test_a_number_that_no_reader_takes_is_refused_by_name():
    graph = Graph()
    one = graph.number(1)
    for value in (Fraction(10) ** 2100, Fraction(1, 7**2500)):
        system = OdeSystem(graph, ("x",), (one,), (graph.number(-value),))
        with pytest.raises(UnsupportedModelError, match=r"number of this length .* out of range") as caught:
            written_system(system, ".ode")
        assert [reason.code for reason in caught.value.reasons] == ["ode-not-expressible"]


def test_parameters_without_a_value_are_written_as_sbml_without_one(tmp_path, capsys):
    source, target = tmp_path / "m.ode", tmp_path / "m.xml"
    equations = "d(x) = -k*x + c*y\n  d(y) = -y\n  d(z) = x"
    source.write_text(
        "begin model m\n begin parameters\n  k\n  c = 2\n end parameters\n"
        f" begin init\n  x = 1\n  y = 1\n  z = 1\n end init\n begin ODE\n  {equations}\n end ODE\nend model\n"
    )
    assert run(["convert", str(source), "-o", str(target)]) == 0
    text = target.read_text(encoding="utf-8")
    assert re.search(r'<parameter id="k"(?![^>]* value=)', text)
    assert re.search(r'<parameter id="c"[^>]* value="2"', text)
    capsys.readouterr()
    for keep in ("none", "all"):
        assert run(["reduce", str(source), "--observe", "x", "--keep-parameters", keep, "--json"]) == 1
        reasons = json.loads(capsys.readouterr().out)["reasons"]
        assert {(r["code"], r["element"]) for r in reasons} == {("missing-value", "k")}
