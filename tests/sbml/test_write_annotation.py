"""The lumping annotation is read as it was written, and refused where it is not as documented."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from sbml.write_models import chain, reduced_chain

from sbmlump.errors import InputError, LimitError
from sbmlump.model import ErrorEstimate, Lump
from sbmlump.sbml import lumping_annotation, read_lumping_annotation, write_reduction, write_system

SBML = '<sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" level="3" version="2"><model><annotation>'
END = "</annotation></model></sbml>"


def test_everything_comes_back() -> None:
    reduced = reduced_chain()
    record = read_lumping_annotation(write_reduction(reduced))
    assert record is not None
    assert record.lumps == reduced.lumps
    assert record.lift == ({"A": 1, "B": Fraction(-2, 3)}, {"C": 1})
    assert record.observables == (("half", "1/2*A & more"),)
    assert record.valid_for == {"k2": "2/3"}
    assert (record.model_id, record.file, record.sha256) == ("chain", "chain.xml", "0" * 64)
    assert (record.original_size, record.method, record.kind) == (4, "exact", "linear")
    assert record.certificate == reduced.certificate.as_json()


def test_estimate_without_a_value_is_null() -> None:
    estimate = ErrorEstimate(
        "ensemble", 10.0, 5, 0.1, float("inf"), 0.5, details={"per_observable": {"x": float("nan")}}
    )
    record = read_lumping_annotation(write_reduction(replace(reduced_chain(), certificate=estimate)))
    assert record is not None
    assert record.certificate["worst_error"] is None
    assert record.certificate["per_observable"] == {"x": None}
    assert record.certificate["median_error"] == 0.5


def test_model_that_is_no_reduced_one_has_no_record() -> None:
    assert read_lumping_annotation(write_system(chain())) is None
    # the element counts on the model only
    own = lumping_annotation(reduced_chain())
    elsewhere = SBML.replace("<annotation>", "<listOfParameters><annotation>") + own
    assert (
        read_lumping_annotation((elsewhere + END.replace("</model>", "</listOfParameters></model>")).encode()) is None
    )


def test_reducing_a_reduced_model_replaces_the_record() -> None:
    reduced = reduced_chain()
    first = f"<annotation>{lumping_annotation(reduced)}</annotation>"
    origin = replace(reduced.original.origin, annotation=first, sha256="1" * 64)
    again = replace(reduced, original=replace(reduced.original, origin=origin))
    record = read_lumping_annotation(write_reduction(again))
    assert record is not None
    assert record.sha256 == "1" * 64


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('value="-2/3"', 'value="-0.67"'),
        ('value="-2/3"', 'value="1/0"'),
        ('value="-2/3"', ""),
        ('state="B"', 'state="A"'),
        ('<lump id="C">', '<lump id="T">'),
        ('states="4"', 'states="four"'),
        ('method="exact" ', ""),
        ("<matrix>", "<matrix><surprise/>"),
        ("<observables>", "<observables><derivedFrom/>"),
        ("0.0</field>", "0.0.0</field>"),
        ("</lumping>", f"</lumping>{lumping_annotation(reduced_chain())}"),
        ("<lift>", "<validFor/><lift>"),
    ],
)
def test_what_is_not_as_documented_is_refused(old: str, new: str) -> None:
    text = lumping_annotation(reduced_chain())
    assert old in text
    broken = SBML + text.replace(old, new, 1) + END
    if old == "<lift>":  # an empty list twice does no harm
        assert read_lumping_annotation(broken.encode()) is not None
        return
    with pytest.raises(InputError) as error:
        read_lumping_annotation(broken.encode())
    assert error.value.reasons[0].code == "bad-annotation"
    assert error.value.exit_code == 3


@pytest.mark.parametrize("source", [b"", b"<sbml>", b"<!DOCTYPE sbml><sbml/>"])
def test_what_is_no_plain_xml_is_refused(source: bytes) -> None:
    with pytest.raises(InputError, match="annotation"):
        read_lumping_annotation(source)


def test_missing_parts_are_refused() -> None:
    text = lumping_annotation(reduced_chain())
    for tag in ("derivedFrom", "matrix", "lift"):
        start = text.index(f"<{tag}")
        end = text.index("/>", start) + 2 if tag == "derivedFrom" else text.index(f"</{tag}>") + len(tag) + 3
        with pytest.raises(InputError):
            read_lumping_annotation((SBML + text[:start] + text[end:] + END).encode())


def test_coefficient_of_absurd_length_is_refused() -> None:
    reduced = reduced_chain()
    long = replace(reduced, lumps=(Lump("T", {"A": Fraction(1, 3**10_000)}), reduced.lumps[1]))
    with pytest.raises(LimitError) as error:  # a refusal, not an internal error
        write_reduction(long)
    assert error.value.reasons[0].code == "too-large"
