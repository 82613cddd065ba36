"""What every element of a file may carry: name, SBO term, metaid, notes, annotation."""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ["described", "standalone"]

_PREFIX: Final = re.compile(r"[<\s/]([A-Za-z_][\w.-]*):[A-Za-z_]")


def described(document: Any, item: Any) -> dict[str, Any]:
    """Fields ``name``, ``sbo``, ``metaid``, ``notes`` and ``annotation`` of a libSBML element; ``None`` if absent."""
    # libSBML gives the empty string for what is not set; asking first would double the calls
    return {
        "name": (item.getName() or None) if document.getLevel() > 1 else None,  # in Level 1 the name is the id
        "sbo": item.getSBOTermID() or None,
        "metaid": item.getMetaId() or None,
        "notes": standalone(document, item.getNotesString()) if item.isSetNotes() else None,
        "annotation": standalone(document, item.getAnnotationString()) if item.isSetAnnotation() else None,
    }


def standalone(document: Any, text: str) -> str:
    """XML text with the namespace prefixes that only the document declares, declared in it."""
    missing = []
    for prefix in dict.fromkeys(_PREFIX.findall(text)):
        if prefix in ("xml", "xmlns") or f"xmlns:{prefix}=" in text:
            continue
        for holder in (document.getModel(), document):
            uri = holder.getNamespaces().getURI(prefix)
            if uri:
                missing.append(f' xmlns:{prefix}="{uri}"')
                break
    if not missing:
        return text
    return re.sub(r"^(\s*<[\w:.-]+)", lambda found: found.group(1) + "".join(missing), text, count=1)
