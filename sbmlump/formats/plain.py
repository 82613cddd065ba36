"""Text of a model as one line that does nothing but be read."""

from __future__ import annotations

__all__ = ["one_line"]


def one_line(text: str) -> str:
    """``text`` on one line: white space becomes a blank, and what does not print (control characters, marks that turn
    the direction of writing) becomes U+FFFD.
    """
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))
