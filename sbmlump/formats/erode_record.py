"""What an ``.ode`` file says, entry by entry, before any name is resolved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from sbmlump.expr.graph import Graph, Node
from sbmlump.formats.erode_lexer import Tokens

__all__ = ["RESERVED", "NamedExpression", "RawOde", "OdeReaction"]

RESERVED: Final = frozenset({"begin", "end", "arbitrary"})
"""Words that are no names."""


@dataclass(frozen=True, slots=True)
class NamedExpression:
    """A name with an expression (``None`` if the file gives none) and the token it stands at."""

    name: str
    value: Node | None
    index: int
    note: str | None = None


@dataclass(frozen=True, slots=True)
class OdeReaction:
    """Both sides (name → multiplicity, in order), the whole flux, the label in brackets, and the first token."""

    reactants: dict[str, int]
    products: dict[str, int]
    flux: Node
    label: str | None
    index: int
    rate: str | None  # name of the rate constant, if the rate is nothing else


@dataclass(slots=True)
class RawOde:
    """Everything a file says, in order; nothing is resolved yet.

    ``first_use`` holds the token at which each name of an expression stands for the first time, ``doubtful`` the
    powers that ERODE's grammar reads otherwise: after a sign (``signed``), or of a power (``nested``).
    """

    graph: Graph
    tokens: Tokens
    title: str = ""
    blocks: set[str] = field(default_factory=set)
    parameters: list[NamedExpression] = field(default_factory=list)
    init: list[NamedExpression] = field(default_factory=list)
    partition: list[list[tuple[str, int]]] = field(default_factory=list)
    equations: list[NamedExpression] = field(default_factory=list)
    algebraic: list[NamedExpression] = field(default_factory=list)
    views: list[NamedExpression] = field(default_factory=list)
    reactions: list[OdeReaction] = field(default_factory=list)
    participants: dict[str, int] = field(default_factory=dict)
    first_use: dict[str, int] = field(default_factory=dict)
    doubtful: dict[str, list[int]] = field(default_factory=dict)
