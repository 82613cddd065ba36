"""What a reduced model says of itself to people."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Final

from sbmlump._version import __version__
from sbmlump.reduced import ErrorEstimate, Lump, ReducedSystem
from sbmlump.sbml.write_fragments import XHTML, as_division, notes_text
from sbmlump.sbml.write_xml import Child, children_of, escaped, is_well_formed, join_content

__all__ = ["formula", "reduction_notes"]

_MOST_LUMPS: Final = 200
_MOST_MEMBERS: Final = 30
_MOST_BITS: Final = 100


def formula(members: Mapping[str, Fraction], most: int = _MOST_MEMBERS) -> str:
    """``A + 2*B - 1/2*C``; after ``most`` terms, how many more there are."""
    words: list[str] = []
    for index, (name, value) in enumerate(members.items()):
        if index == most:
            words.append(f"+ … ({len(members) - most} more)")
            break
        sign = "-" if value < 0 else "+"
        term = name if abs(value) == 1 else f"{_brief(abs(value))}*{name}"
        words.append(term if index == 0 and value > 0 else f"-{term}" if index == 0 else f"{sign} {term}")
    return " ".join(words) or "0"


def _brief(value: Fraction) -> str:
    """``value`` exactly if that is readable, else roughly (the annotation has it exactly)."""
    if max(value.numerator.bit_length(), value.denominator.bit_length()) <= _MOST_BITS:
        return str(value)
    try:
        return f"(about {float(value):.6g})"
    except OverflowError:
        return "(a very large number)"


def reduction_notes(reduced: ReducedSystem, original: str | None) -> str:
    """A ``notes`` element: what was reduced, how, what each lump is; the notes of the original follow.

    Parameters
    ----------
    reduced : ReducedSystem
    original : str or None
        The ``notes`` element of the original model.
    """
    own = f'<div xmlns="{XHTML}">\n{_summary(reduced)}{_lumps(reduced.lumps)}</div>\n'
    if original is None:
        return f"<notes>\n{own}</notes>"
    original = notes_text(original)
    children = children_of(original)
    whole = next((c for c in children if c.name in (f"{XHTML} body", f"{XHTML} html")), None)
    if whole is None:
        return join_content(original, "\n" + own, first=True)
    body: Child | None = whole
    if whole.name.endswith("html"):
        body = next((child for child in children_of(whole.text) if child.name == f"{XHTML} body"), None)
    if body is None or not is_well_formed(body.text):
        rest = f"<pre>{escaped(whole.text)}</pre>"
    else:
        rest = as_division(body)
    return f'<notes>\n<body xmlns="{XHTML}">\n{own}{rest}\n</body>\n</notes>'


def _summary(reduced: ReducedSystem) -> str:
    origin = reduced.original.origin
    name = reduced.original.name or reduced.original.id
    source = f" (file {origin.file.rpartition('/')[2]})" if origin.file is not None else ""
    kept = ", ".join(
        one.id if one.text == one.id else f"{one.id} = {one.text}" for one in reduced.observables[:_MOST_MEMBERS]
    )
    certificate = reduced.certificate
    if isinstance(certificate, ErrorEstimate):
        claim = (
            f"The reduction is approximate: the largest relative error measured over {certificate.ensemble} initial "
            f"states up to time {certificate.horizon:g} is {certificate.worst_error:.3g}."
        )
    else:
        claim = f"The reduction is exact: {certificate.statement.rstrip('.')}. {certificate.scope(_MOST_MEMBERS)}"
    made = (
        f"This is a reduced version of the model {name}{source}, made by sbmlump {__version__} "
        f"with the method {reduced.method}: {reduced.original.size} states became {reduced.system.size}."
    )
    sentences = (
        made,
        f"It keeps: {kept}." if kept else "",
        claim,
        "The notes and the description of the original, where they follow, speak of the original model.",
    )
    return "".join(f"<p>{escaped(text)}</p>\n" for text in sentences if text)


def _lumps(lumps: tuple[Lump, ...]) -> str:
    made = [lump for lump in lumps if not lump.is_single]
    if not made:
        return "<p>Every state of it is a state of the original model.</p>\n"
    items = "".join(f"<li>{escaped(f'{lump.id} = {formula(lump.members)}')}</li>\n" for lump in made[:_MOST_LUMPS])
    more = f"<p>{len(made) - _MOST_LUMPS} more are in the annotation.</p>\n" if len(made) > _MOST_LUMPS else ""
    single = len(lumps) - len(made)
    rest = f" ({single} of {len(lumps)} states are states of the original model)" if single else ""
    return f"<p>What each lump is made of{rest}:</p>\n<ul>\n{items}</ul>\n{more}"
