"""Ways in which somebody may change the events of a file by hand."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET
from collections.abc import Iterator

_CORE = "{http://www.sbml.org/sbml/level3/version2/core}"
_MATH = "{http://www.w3.org/1998/Math/MathML}"


def changed_events(root: ET.Element) -> Iterator[tuple[str, ET.Element]]:
    """What was done, and the document with it done: flags, delays, assignments left out, added and moved."""
    for number, one in enumerate(root.iter(f"{_CORE}event")):
        flags = [(one, "useValuesFromTriggerTime")]
        trigger = one.find(f"{_CORE}trigger")
        assert trigger is not None
        flags += [(trigger, "persistent"), (trigger, "initialValue")]
        for element, name in flags:
            before = element.get(name)
            element.set(name, "false" if before == "true" else "true")
            yield f"{name} of event {number}", copy.deepcopy(root)
            element.set(name, str(before))
        for tag in ("delay", "priority"):
            part = one.find(f"{_CORE}{tag}")
            if part is not None:
                place = list(one).index(part)
                one.remove(part)
                yield f"{tag} of event {number} removed", copy.deepcopy(root)
                one.insert(place, part)
        yield from _changed_assignments(root, one, number)
    yield from _without_events(root)


def _changed_assignments(root: ET.Element, one: ET.Element, number: int) -> Iterator[tuple[str, ET.Element]]:
    listed = one.find(f"{_CORE}listOfEventAssignments")
    own = [] if listed is None else list(listed)
    for place, part in enumerate(own):
        assert listed is not None
        listed.remove(part)
        yield f"assignment to {part.get('variable')} of event {number} removed", copy.deepcopy(root)
        listed.insert(place, part)
    assigned = {rule.get("variable") for rule in root.iter(f"{_CORE}assignmentRule")}
    names = [rule.get("variable") for rule in root.iter(f"{_CORE}rateRule")]
    names += [one.get("id") for one in root.iter(f"{_CORE}species") if one.get("constant") != "true"]
    for name in dict.fromkeys(name for name in names if name not in assigned):
        if name in [part.get("variable") for part in own]:
            continue
        place = listed if listed is not None else ET.SubElement(one, f"{_CORE}listOfEventAssignments")
        more = ET.SubElement(place, f"{_CORE}eventAssignment", {"variable": str(name)})
        ET.SubElement(ET.SubElement(more, f"{_MATH}math"), f"{_MATH}ci").text = name
        yield f"{name} := {name} added to event {number}", copy.deepcopy(root)
        place.remove(more)
        if listed is None:
            one.remove(place)


def _without_events(root: ET.Element) -> Iterator[tuple[str, ET.Element]]:
    listed = root.find(f".//{_CORE}listOfEvents")
    if listed is None:
        return
    for number, one in enumerate(list(listed)):
        listed.remove(one)
        yield f"event {number} removed", copy.deepcopy(root)
        listed.append(one)
        yield f"event {number} moved to the end", copy.deepcopy(root)
        listed.remove(one)
        listed.insert(number, one)
