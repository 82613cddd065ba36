"""Unsafe and unreadable bytes, and numbers that libSBML would misread."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import pytest
from sbml.read_models import MATHML, listed, parameter, sbml, system_of

from sbmlump.errors import InputError
from sbmlump.sbml import formula_depth, is_on_fast_path, open_sbml, prepare_bytes, read_sbml


def refusal(data: bytes) -> InputError:
    with pytest.raises(InputError) as caught:
        prepare_bytes(data, file="x.xml", fast_path=False)
    assert len(caught.value.reasons) == 1
    return caught.value


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty-file"),
        (b"  \n ", "empty-file"),
        (b"this is no XML", "not-xml"),
        (b"<sbml><model></sbml>", "not-sbml"),
        (sbml("<listOfParameters>").encode(), "not-xml"),
        (b"<html><body/></html>", "not-sbml"),
        (b'<sbml xmlns="http://example.org/"/>', "not-sbml"),
        (b'<!DOCTYPE sbml [<!ENTITY a "b">]>' + sbml("").split("\n")[1].encode(), "doctype"),
        (b"<!DOCTYPE sbml>" + sbml("").split("\n")[1].encode(), "doctype"),
        (sbml("").encode().replace(b"UTF-8", b"no-such-encoding"), "encoding"),
        (b"\x00\x01\x02\xff" * 50, "not-xml"),
    ],
)
def test_unreadable_bytes_are_refused(data: bytes, code: str) -> None:
    assert refusal(data).reasons[0].code == code
    assert "x.xml" in str(refusal(data))


@pytest.mark.parametrize("depth", [1001, 20_000, 200_000])
def test_deep_nesting_is_refused_before_libsbml_sees_it(depth: int) -> None:
    notes = '<notes><body xmlns="http://www.w3.org/1999/xhtml">' + "<p>" * depth + "</p>" * depth + "</body></notes>"
    error = refusal(sbml(notes).encode())
    assert error.reasons[0].code == "too-deep"
    assert error.reasons[0].line == 2


def test_nesting_of_a_few_hundred_levels_is_read(tmp_path: Path) -> None:
    depth = 900
    formula = "<apply><minus/>" * depth + "<ci> p </ci>" + "</apply>" * depth
    rules = listed("Rules", f'<assignmentRule variable="q"><math {MATHML}>{formula}</math></assignmentRule>')
    text = sbml(listed("Parameters", parameter("p", "3"), parameter("q", None, constant=False)) + rules)
    system = system_of(tmp_path, text)
    assert system.definitions["q"] == system.graph.symbol("p")


def test_long_infix_formulas_are_refused() -> None:
    text = sbml('<listOfRules><parameterRule name="a" formula="%s"/></listOfRules>' % ("-" * 100_001), level=1)
    assert refusal(text.encode()).reasons[0].code == "too-deep"


@pytest.mark.parametrize(
    ("formula", "depth"),
    [
        ("a", 0),
        ("a + b + c + d", 1),
        ("a - b - c", 2),
        ("k1*A/2 + k2*B - k3*C", 3),
        ("f(a + b, c*d*e*(x + y))", 4),
        ("2^x^y", 2),
        ("---a", 3),
        ("((a))", 2),
        ("S" + " - S" * 45_000, 45_000),
        ("exp(" * 15_000 + "S" + ")" * 15_000, 15_000),
        (" + ".join(f"k{i}*A{i}/2" for i in range(3000)), 3),
    ],
)
def test_depth_of_infix_formulas(formula: str, depth: int) -> None:
    assert formula_depth(formula) == depth


@pytest.mark.parametrize("formula", ["S" + "-S" * 45_000, "S^" * 20_000 + "S", "(" * 2000 + "S" + ")" * 2000])
def test_deep_infix_formulas_are_refused_before_libsbml_sees_them(formula: str) -> None:
    text = sbml(f'<listOfRules><parameterRule name="a" formula="{formula}"/></listOfRules>', level=1)
    assert refusal(text.encode()).reasons[0].code == "too-deep"


def number_in(folder: Path, cn: str) -> Fraction:
    """Value of a parameter that a rule sets to ``cn``."""
    rules = listed("Rules", f'<assignmentRule variable="q"><math {MATHML}>{cn}</math></assignmentRule>')
    system = system_of(folder, sbml(listed("Parameters", parameter("q", None, constant=False)) + rules))
    value = system.graph.number_of(system.definitions["q"])
    assert value is not None
    return value


@pytest.mark.parametrize(
    ("cn", "value"),
    [
        ('<cn type="integer"> 4294967299 </cn>', Fraction(4294967299)),
        ('<cn type="integer"> -4294967299 </cn>', Fraction(-4294967299)),
        ('<cn type="integer"> 2147483647 </cn>', Fraction(2147483647)),
        ('<cn type="integer"> 2147483648 </cn>', Fraction(2147483648)),
        ('<cn type="integer"> 123456789012345678901234567890 </cn>', Fraction(123456789012345678901234567890)),
        ('<cn type="rational"> 4294967299 <sep/> 3 </cn>', Fraction(4294967299, 3)),
        ('<cn type="rational"> 1 <sep/> 3 </cn>', Fraction(1, 3)),
        ('<cn type="e-notation"> 1.5 <sep/> -7 </cn>', Fraction(15, 10**8)),
        ("<cn> 0.1 </cn>", Fraction(1, 10)),
        ("<cn> 1e-3 </cn>", Fraction(1, 1000)),
        ('<cn type="e-notation"> 1 <sep/> 300 </cn>', Fraction(10**300)),
    ],
)
def test_numbers_are_exact(tmp_path: Path, cn: str, value: Fraction) -> None:
    assert number_in(tmp_path, cn) == value


def test_a_prefixed_number_is_rewritten_with_its_prefix(tmp_path: Path) -> None:
    formula = '<m:cn type="integer">99999999999</m:cn>'
    inside = f'<m:math xmlns:m="http://www.w3.org/1998/Math/MathML">{formula}</m:math>'
    rules = listed("Rules", f'<assignmentRule variable="q">{inside}</assignmentRule>')
    system = system_of(tmp_path, sbml(listed("Parameters", parameter("q", None, constant=False)) + rules))
    assert system.graph.number_of(system.definitions["q"]) == 99999999999


@pytest.mark.parametrize(
    "cn",
    [
        '<cn type="integer"> 3.5 </cn>',
        '<cn type="integer"> 1e3 </cn>',
        "<cn> 1e400 </cn>",
        "<cn> 1e-400 </cn>",
        "<cn> INF </cn>",
        "<cn> abc </cn>",
        "<cn></cn>",
        '<cn type="rational"> 1.5 <sep/> 2 </cn>',
        '<cn type="rational"> 1 <sep/> 0 </cn>',
        '<cn type="e-notation"> 1 <sep/> 2.5 </cn>',
        '<cn type="e-notation"> 1 <sep/> 400 </cn>',
        '<cn base="16"> ff </cn>',
        '<cn type="complex-cartesian"> 3 <sep/> 4 </cn>',
    ],
)
def test_numbers_that_libsbml_would_misread_are_refused(cn: str) -> None:
    rules = listed("Rules", f'<assignmentRule variable="q"><math {MATHML}>{cn}</math></assignmentRule>')
    assert refusal(sbml(rules).encode()).reasons[0].code == "bad-number"


def test_numbers_in_annotations_are_left_alone() -> None:
    inside = f'<annotation><math {MATHML}><cn type="integer"> 99999999999 </cn></math></annotation>'
    data = sbml(inside).encode()
    assert prepare_bytes(data, file="x") == data


@pytest.mark.parametrize("encoding", ["ISO-8859-1", "UTF-16"])
def test_other_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    text = sbml(listed("Parameters", parameter("p", "2")), model='id="m" name="Zürich"')
    path = tmp_path / "m.xml"
    path.write_bytes(text.replace("UTF-8", encoding).encode(encoding))
    assert read_sbml(path).name == "Zürich"


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    for path, code in ((tmp_path / "none.xml", "no-such-file"), (tmp_path, "is-a-directory")):
        with pytest.raises(InputError) as caught:
            open_sbml(path)
        assert caught.value.reasons[0].code == code


@pytest.mark.skipif(os.name != "posix", reason="pipes have names on POSIX only")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.xml")
    with pytest.raises(InputError) as caught:
        open_sbml(tmp_path / "pipe.xml")
    assert caught.value.reasons[0].code == "not-a-regular-file"


def test_an_error_says_what_was_found_rather_than_the_rule(tmp_path: Path) -> None:
    path = tmp_path / "m.xml"
    path.write_text(sbml(listed("Parameters", '<parameter id="a" value="1"/>')))
    with pytest.raises(InputError) as caught:
        open_sbml(path)
    assert "The required attribute 'constant' is missing from the <parameter> with the id 'a'." in str(caught.value)


def test_every_error_of_libsbml_is_a_reason_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "m.xml"
    path.write_text(sbml(listed("Parameters", "\n<parameter id='a' value='x' constant='true'/>", "\n<parameter/>")))
    with pytest.raises(InputError) as caught:
        open_sbml(path)
    assert {reason.code for reason in caught.value.reasons} == {"invalid-sbml"}
    assert {3, 4} <= {reason.line for reason in caught.value.reasons}


def test_errors_in_notes_do_not_stop_a_reading(tmp_path: Path) -> None:
    text = sbml("<notes>plain text</notes>" + listed("Parameters", parameter("p", "2")))
    assert system_of(tmp_path, text).constants[0].id == "p"


# -- large files that need no closer look ----------------------------------------------------------------------------

PADDING = listed("Parameters", *(parameter(f"p{i}", "1.5") for i in range(6000)))


def large(inside: str) -> bytes:
    """A file of more than 256 KiB."""
    data = sbml(PADDING + inside).encode()
    assert len(data) > 256 * 1024
    return data


def law(mathematics: str) -> str:
    return listed(
        "InitialAssignments", f'<initialAssignment symbol="p1"><math {MATHML}>{mathematics}</math></initialAssignment>'
    )


PREFIXED = listed(
    "InitialAssignments",
    '<initialAssignment symbol="p1"><m:math xmlns:m="http://www.w3.org/1998/Math/MathML">'
    '<m:cn type="integer"> 12345678901 </m:cn></m:math></initialAssignment>',
)


@pytest.mark.parametrize(
    "number",
    ["<cn>1</cn>", '<cn type="integer"> -12 </cn>', "<cn> 1.25e-3 </cn>", '<cn type="real"> 1. </cn>', "<ci> p2 </ci>"],
)
def test_large_plain_files_are_passed_on_as_they_are(number: str) -> None:
    data = large(law(number))
    assert is_on_fast_path(data)
    assert prepare_bytes(data, file="x.xml") is data


@pytest.mark.parametrize(
    "inside",
    [
        law('<cn type="integer"> 12345678901 </cn>'),
        law('<cn type="integer"> 3.5 </cn>'),
        law('<cn type="e-notation"> 1 <sep/> 2 </cn>'),
        law('<cn type="rational"> 1 <sep/> 2 </cn>'),
        law('<cn base="2"> 1 </cn>'),
        law("<cn> 1e999 </cn>"),
        law("<cn> one </cn>"),
        law("<cn/>"),
        PREFIXED,
        "<!-- a comment -->",
        "<?instruction?>",
        "<notes><p>a > b</p></notes>",
        "<notes><p><![CDATA[</p>]]></p></notes>",
        "<notes>" + "<p>" * 201 + "</p>" * 201 + "</notes>",
        "\0",
    ],
)
def test_anything_out_of_the_ordinary_is_looked_at_closely(inside: str) -> None:
    assert not is_on_fast_path(large(inside))


def test_other_encodings_and_roots_are_looked_at_closely() -> None:
    data = large(law("<cn>1</cn>"))
    assert is_on_fast_path(data)
    for changed in (
        data.replace(b"UTF-8", b"ISO-8859-1"),
        b"\xef\xbb\xbf" + data,
        data.replace(b'"p7"', b'"p\xff"'),
        data.replace(b"<sbml", b"<html").replace(b"</sbml", b"</html"),
        data.replace(b"http://www.sbml.org/sbml/level", b"http://example.org/level"),
        data.decode().encode("utf-16"),
    ):
        assert changed != data
        assert not is_on_fast_path(changed)


@pytest.mark.parametrize("depth", [1001, 100_000])
@pytest.mark.parametrize("end", ["", "</p>"])
def test_depth_of_large_files_is_refused(depth: int, end: str) -> None:
    data = large("<notes>" + "<p>" * depth + end * depth + "</notes>")
    with pytest.raises(InputError) as caught:
        prepare_bytes(data, file="x.xml")
    assert caught.value.reasons[0].code == "too-deep"


def test_large_files_that_are_not_well_formed_are_named_so(tmp_path: Path) -> None:
    path = tmp_path / "x.xml"
    path.write_bytes(large(law("<cn>1</cn>")).replace(b"</model>", b"</mode>"))
    assert is_on_fast_path(path.read_bytes())
    with pytest.raises(InputError) as caught:
        open_sbml(path)
    assert caught.value.reasons[0].code == "not-xml"
    assert "line" in caught.value.reasons[0].message
