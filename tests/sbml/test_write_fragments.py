"""Notes and annotations of older files in Level 3."""

from __future__ import annotations

import pytest

from sbmlump.errors import SbmlumpError
from sbmlump.sbml import (
    CARRIED,
    XHTML,
    annotation_text,
    attributes,
    children_of,
    escaped,
    extras,
    is_well_formed,
    join_content,
    notes_text,
)


def names(fragment: str) -> list[str]:
    return [child.name for child in children_of(fragment)]


def test_attributes_are_quoted() -> None:
    assert attributes(id="a", name=None, note_='<"&\n') == ' id="a" note="&lt;&quot;&amp;&#10;"'
    assert attributes(name="\x00x") == ' name="\ufffdx"'
    assert escaped("a<b\x01") == "a&lt;b\ufffd"


def test_children_and_content_are_found_by_bytes() -> None:
    fragment = '<n>ä<a x=">">1</a> <!-- <b/> --><b/>é<c/></n>'
    assert [child.text for child in children_of(fragment)] == ['<a x=">">1</a>', "<b/>", "<c/>"]


@pytest.mark.parametrize("fragment", ["<n/>", "<n></n>", "<n><a/></n>", "<n>ä</n>", '<n x="1" />'])
def test_joining_keeps_what_is_there(fragment: str) -> None:
    joined = join_content(fragment, "<z/>", first=False)
    assert names(joined) == [*names(fragment), "z"]
    assert names(join_content(fragment, "<z/>", first=True)) == ["z", *names(fragment)]
    assert is_well_formed(joined)


def test_annotation_that_is_fine_is_not_touched() -> None:
    text = '<annotation><a:x xmlns:a="http://a"/><b xmlns="http://b">t</b></annotation>'
    assert annotation_text(text) == text


def test_declarations_go_to_the_children() -> None:
    text = annotation_text('<annotation xmlns:a="http://a"><a:x y="1"/></annotation>')
    assert '<a:x xmlns:a="http://a" y="1"/>' in text


def test_what_level_3_forbids_is_carried() -> None:
    text = '<annotation xmlns:a="http://a"><a:x/><a:y/><b xmlns="http://b"/><c>1</c></annotation>'
    fit = annotation_text(text)
    assert names(fit) == ["http://b b", f"{CARRIED} carried"]
    wrapper = children_of(fit)[1].text
    assert all(part in wrapper for part in ("<a:x/>", "<a:y/>", "<c>1</c>"))
    assert names(annotation_text(fit)) == names(fit)


def test_notes_without_a_namespace_become_xhtml() -> None:
    assert names(notes_text("<notes><p>a</p></notes>")) == [f"{XHTML} p"]
    assert names(notes_text('<notes><q xmlns="http://q"/></notes>')) == [f"{XHTML} pre"]


def test_body_among_others_becomes_a_division() -> None:
    text = notes_text(f'<notes><body xmlns="{XHTML}"><p>1</p></body><p xmlns="{XHTML}">2</p></notes>')
    assert names(text) == [f"{XHTML} div", f"{XHTML} p"]
    alone = f'<notes><body xmlns="{XHTML}"><p>1</p></body></notes>'
    assert notes_text(alone) == alone


def test_undeclared_prefix_is_refused() -> None:
    assert not is_well_formed("<a><b:c/></a>")
    with pytest.raises(SbmlumpError) as error:
        extras("S1", None, "<annotation><b:c/></annotation>")
    assert error.value.reasons[0].code == "not-self-contained"
    assert error.value.reasons[0].element == "S1"
