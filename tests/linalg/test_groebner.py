"""Gröbner bases against SymPy's, which computed them before."""

from functools import reduce

import flint
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from sbmlump.linalg import BasisLimits, groebner_basis

UNKNOWNS, OTHERS = ("A", "B", "C"), ("k", "l", "m", "T")
CONTEXT = flint.fmpq_mpoly_ctx.get((*OTHERS, *UNKNOWNS), "degrevlex")
VARIABLES = dict(zip((*OTHERS, *UNKNOWNS), CONTEXT.gens(), strict=True))
SYMBOLS = dict(zip((*OTHERS, *UNKNOWNS), sympy.symbols((*OTHERS, *UNKNOWNS)), strict=True))
CASES = {
    "an equilibrium of a dimer and its total": ("A B", "k*A**2 - l*B", "A + 2*B - T"),
    "two coupled equilibria": ("A B", "k*A*(T - A - B) - l*B", "m*B*(1 - A) - A"),
    "a circle and a hyperbola": ("A B", "A**2 + B**2 - T", "A*B - k"),
    "degree six": ("A B", "A**3 + k*B - T", "B**2 + l*A - m"),
    "one equation too many": ("A B", "A*B - k", "A + B - l", "A**2 + B**2 - l**2 + 2*k"),
    "three unknowns": ("A B C", "A + B + C - 3", "A*B + A*C + B*C - 2", "2*A*B*C - 1"),
    "a line of solutions": ("A B", "A*B - k*A", "A**2 - l*A"),
    "no solution": ("A B", "A*B - k", "A*B - l"),
    "none at all": ("A B", "A - k", "A - l"),
}


def of_sympy(equations, unknowns):
    """Reduced basis, denominators and contents removed, the leading coefficient's first number 1; None as we say."""
    wanted = [SYMBOLS[name] for name in unknowns]
    basis = sympy.groebner(equations, *wanted, order="lex", domain=sympy.QQ.frac_field(*(SYMBOLS[n] for n in OTHERS)))
    if not basis.is_zero_dimensional or basis.exprs == [1]:
        return None
    return [normal(sympy.Poly(sympy.numer(sympy.together(one)), *wanted)) for one in basis.exprs]


def normal(polynomial):
    terms = [(exps, sympy.Poly(c, *(SYMBOLS[n] for n in OTHERS))) for exps, c in polynomial.terms()]
    content = reduce(sympy.gcd, (c for _, c in terms))
    return {exps: sympy.quo(c, content).as_expr() for exps, c in terms}


def of_flint(polynomial, unknowns):
    total = sum(
        sympy.Rational(int(c.p), int(c.q))
        * sympy.Mul(*(s ** int(e) for s, e in zip(SYMBOLS.values(), exps, strict=True)))
        for exps, c in polynomial.terms()
    )
    return normal(sympy.Poly(total, *(SYMBOLS[name] for name in unknowns)))


def proportional(mine, theirs):
    lead = max(mine)
    factor = sympy.cancel(theirs[lead] / mine[lead])
    return set(mine) == set(theirs) and all(sympy.cancel(theirs[e] - factor * mine[e]) == 0 for e in mine)


def compare(unknowns, texts):
    places = [(*OTHERS, *UNKNOWNS).index(name) for name in unknowns]
    found = groebner_basis([eval(text, {}, VARIABLES) for text in texts], places)
    expected = of_sympy([eval(text, {}, SYMBOLS) for text in texts], unknowns)
    assert (found is None) == (expected is None)
    for mine, theirs in zip(found or (), expected or (), strict=True):
        assert proportional(of_flint(mine, unknowns), theirs)
    return found


@pytest.mark.parametrize("name", CASES)
def test_the_basis_is_that_of_sympy(name):
    unknowns, *texts = CASES[name]
    compare(unknowns.split(), texts)


@settings(max_examples=15)  # SymPy takes a second for some
@given(st.integers(0, 2**32 - 1))
def test_of_random_equations_of_degree_two(seed):
    generator = np.random.default_rng(seed)
    monomials = ["1", "A", "B", "A*B", "A**2", "B**2"]
    numbers = ["1", "k", "l", "T", "-2", "-k", "3*m"]

    def equation():
        chosen = generator.choice(len(monomials), 3, replace=False)
        return " + ".join(f"({generator.choice(numbers)})*{monomials[i]}" for i in chosen)

    compare(["A", "B"], [equation(), equation()])


def test_it_ends_at_its_limits():
    equations = [eval(text, {}, VARIABLES) for text in CASES["a circle and a hyperbola"][1:]]
    places = [CONTEXT.names().index(name) for name in ("A", "B")]
    assert groebner_basis(equations, places) is not None
    assert groebner_basis(equations, places, BasisLimits(pairs=1)) is None
    assert groebner_basis(equations, places, BasisLimits(terms=2)) is None
