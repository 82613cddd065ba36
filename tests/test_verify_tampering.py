"""`verify` on reduced files that somebody changed: every number, every missing part of the mathematics."""

from __future__ import annotations

import copy
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from sbml.read_models import assignment, compartment, event, listed, math, parameter, reaction, rule, sbml, species

import sbmlump
from sbmlump.errors import InputError, SbmlumpError, UnsupportedModelError
from sbmlump.model import ExactProof
from sbmlump.proof import Refutation

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?(/[0-9]+)?")
_NUMBERS_THAT_SAY_NOTHING_OF_DYNAMICS = {"level", "version", "spatialDimensions", "exponent", "scale", "multiplier"}
_PARTS = {"reaction", "speciesReference", "rateRule", "event", "eventAssignment", "delay", "priority", "member"}


def original() -> str:
    """A and B decay alike into a growing compartment and add up; an event doses them, another one is delayed."""
    reactions = (
        reaction("r1", "2*A", "P", "k*A*c"),
        reaction("r2", "2*B", "P", "k*B*c"),
        reaction("r3", "P A", "A", "q*A*P*c/(1 + P)", local={"q": "0.7"}),
        reaction("r4", "P B", "B", "0.7*B*P*c/(1 + P)"),
    )
    delayed = event("P > 0.25", {"dose": "dose + 0.5"}, more=f"<delay>{math('0.125')}</delay>").replace('"e"', '"e2"')
    return sbml(
        listed("Compartments", compartment(size="2", constant=False))
        + listed("Species", species("A"), species("B"), species("P", 'initialAmount="0.5"'), species("Z", amounts=True))
        + listed("Parameters", parameter("k", "0.3"), parameter("dose", "1.5", constant=False))
        + listed("InitialAssignments", assignment("B", "k + 2"))
        + listed(
            "Rules", rule("rateRule", "c", "0.1"), rule("rateRule", "Z", "A - Z"), rule("rateRule", "dose", "-dose/8")
        )
        + listed("Reactions", *reactions)
        + listed("Events", event("time > 1.5", {"A": "A + dose/4", "B": "B + 3"}), delayed)
    )


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    source, target = tmp_path / "original.xml", tmp_path / "reduced.xml"
    source.write_text(original())
    reduction = sbmlump.reduce(sbmlump.load(source), ["total = A + B", "P"])
    assert (reduction.system.size, reduction.original.size) == (4, 6)
    reduction.write(target)
    return source, target


def changed_numbers(root: ET.Element) -> Iterator[tuple[str, ET.Element]]:
    """Copies of the tree, each with one number of the mathematics, the values or the lumping made another one.

    The value beside an initial assignment is for programs that pass over formulas; in SBML it means nothing.
    """
    computed = {e.get("symbol") for e in root.iter() if e.tag.endswith("}initialAssignment")}
    for i, element in enumerate(root.iter()):
        tag = element.tag.rpartition("}")[2]
        if tag == "cn" and len(element) == 0:
            yield from _changed(root, i, None, element.text or "", tag)
        for name, text in element.attrib.items():
            if name in ("value", "stoichiometry") and element.get("id") in computed:
                continue
            if name not in _NUMBERS_THAT_SAY_NOTHING_OF_DYNAMICS and _NUMBER.fullmatch(text):
                yield from _changed(root, i, name, text, tag)


def _changed(root: ET.Element, place: int, name: str | None, text: str, tag: str) -> Iterator[tuple[str, ET.Element]]:
    top, bar, bottom = text.strip().partition("/")
    new = str(int(top) + 1) if re.fullmatch("-?[0-9]+", top) else repr(float(top) * 1.001)
    twin = copy.deepcopy(root)
    element = next(e for i, e in enumerate(twin.iter()) if i == place)
    if name is None:
        element.text = new
    else:
        element.set(name, new + bar + bottom)
    yield f"{tag} {element.get('id', '')}@{name}: {text} -> {new}", twin


def without_parts(root: ET.Element) -> Iterator[tuple[str, ET.Element]]:
    """Copies of the tree, each with one element of the dynamics taken out."""
    for i, element in enumerate(root.iter()):
        tag = element.tag.rpartition("}")[2]
        if tag not in _PARTS:
            continue
        twin = copy.deepcopy(root)
        gone = next(e for j, e in enumerate(twin.iter()) if j == i)
        holder = next(e for e in twin.iter() if gone in list(e))
        holder.remove(gone)
        yield f"{tag} {dict(element.attrib)} removed", twin


def accepted(source: Path, tree: ET.Element, path: Path) -> bool:
    path.write_bytes(ET.tostring(tree))
    try:
        return isinstance(sbmlump.verify(source, path), ExactProof)
    except (InputError, UnsupportedModelError):
        return False  # no longer a model, or no longer an annotation: said with exit code 3 or 1


def test_the_file_as_it_is_is_proved(files: tuple[Path, Path], tmp_path: Path) -> None:
    source, target = files
    assert isinstance(sbmlump.verify(source, target), ExactProof)
    assert accepted(source, ET.parse(target).getroot(), tmp_path / "same.xml")


def test_every_changed_number_is_refuted(files: tuple[Path, Path], tmp_path: Path) -> None:
    source, target = files
    found = list(changed_numbers(ET.parse(target).getroot()))
    tags = {what.split()[0] for what, _ in found}
    assert {"cn", "parameter", "compartment", "member", "constant", "derivedFrom"} <= tags
    assert [what for what, tree in found if accepted(source, tree, tmp_path / "t.xml")] == []


def test_every_missing_part_is_refuted(files: tuple[Path, Path], tmp_path: Path) -> None:
    source, target = files
    found = list(without_parts(ET.parse(target).getroot()))
    assert len(found) > 10
    assert [what for what, tree in found if accepted(source, tree, tmp_path / "t.xml")] == []


def test_an_event_that_resizes_with_old_values_keeps_every_state(tmp_path: Path) -> None:
    """Nothing smaller can say it; the model is written as it is, and proved."""
    delayed = event("A < 0.5", {"c": "2*c"}, more=f"<delay>{math('0.3')}</delay>")
    path, target = tmp_path / "m.xml", tmp_path / "r.xml"
    path.write_text(
        sbml(
            listed("Compartments", compartment(size="2", constant=False))
            + listed("Species", species("A"), species("B"), species("Z", amounts=True))
            + listed("Reactions", reaction("r", "A", "B", "A*c"), reaction("s", "B", "Z", "B*c"))
            + listed("Events", delayed)
        )
    )
    reduction = sbmlump.reduce(sbmlump.load(path), ["A"])
    assert not reduction.reducible
    reduction.write(target)
    assert isinstance(sbmlump.verify(path, target), ExactProof)


def test_another_original_is_refuted(files: tuple[Path, Path], tmp_path: Path) -> None:
    _, target = files
    other = tmp_path / "other.xml"
    for old, new in (('"0.3"', '"0.31"'), ("0.7", "0.71"), ('initialAmount="0.5"', 'initialAmount="0.6"')):
        assert old in original()
        other.write_text(original().replace(old, new))
        try:
            assert isinstance(sbmlump.verify(other, target), Refutation), old
        except SbmlumpError as error:
            pytest.fail(str(error))


def test_a_reduced_model_that_is_not_reducible_again_is_proved(files: tuple[Path, Path], tmp_path: Path) -> None:
    """It is written with all that it carries, also with the annotation of the reduction that it comes from."""
    _, target = files
    again = sbmlump.reduce(sbmlump.load(target), ["total", "P"])
    assert not again.reducible
    again.write(tmp_path / "again.xml")
    assert isinstance(sbmlump.verify(target, tmp_path / "again.xml"), ExactProof)


@pytest.mark.parametrize("name", ["r1", "r4"])
def test_the_id_of_a_reaction_means_its_flux(tmp_path: Path, name: str) -> None:
    """A pooled reaction under the id of one that is in it, and one under the id of one that is gone."""
    source, target = tmp_path / "original.xml", tmp_path / "reduced.xml"
    reactions = (
        reaction("r1", "A", "N", "k*A*c"),
        reaction("r2", "B", "N", "k*B*c"),
        reaction("r3", "N", "P", "k*N*c"),
        reaction("r4", "P", "", "0.1*P*c"),
    )
    body = listed("Compartments", compartment()) + listed("Species", *map(species, "ABNP"))
    source.write_text(sbml(body + listed("Parameters", parameter("k", "0.5")) + listed("Reactions", *reactions)))
    sbmlump.reduce(sbmlump.load(source), "N").write(target)
    text = target.read_text()
    assert isinstance(sbmlump.verify(source, target), ExactProof)
    before = {"r1": "pooled_r1_r2", "r4": "r3"}[name]
    assert f'<reaction id="{before}"' in text
    target.write_text(text.replace(f'<reaction id="{before}"', f'<reaction id="{name}"'))
    refuted = sbmlump.verify(source, target)
    assert isinstance(refuted, Refutation)
    assert [one.element for one in refuted.reasons] == [name]
