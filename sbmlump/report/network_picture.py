"""A model as a picture: species and reactions, laid out, with the states of one lump in one colour.

The layout minimises the stress of the distances in the graph [1]_, from the coordinates that classical scaling gives;
both are deterministic, and their work is bounded. Where Graphviz is installed its ``dot`` is asked instead. Networks
that nobody could read are drawn with the states of each lump as one node, or not at all.

References
----------
.. [1] Gansner, Koren and North, Graph drawing by stress majorization, 2004.
"""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

from sbmlump.arrays import Array
from sbmlump.errors import counted, shortened
from sbmlump.linalg.connected import components
from sbmlump.model.reduced import Meaning, ReducedSystem
from sbmlump.model.system import OdeSystem
from sbmlump.model.text import one_line
from sbmlump.plot_style import SERIES

__all__ = ["NetworkDrawing", "NetworkPicture", "network_pictures"]


@dataclass(frozen=True, slots=True)
class NetworkDrawing:
    """How a network is drawn.

    Attributes
    ----------
    species, reactions : int
        Up to which all are drawn; more are a ball of wool.
    groups : int
        Nodes up to which a network is drawn in a summarised form.
    edges : int
        Up to which arrows are drawn.
    label : int
        Characters of a name in a node; the whole one is shown when pointed at.
    step : float
        Pixels between neighbours, before nodes are pushed apart.
    stretch : float
        Of the width: names are wider than high.
    dot : float
        Pixels of the width and the height of a reaction.
    letter, height, gap : float
        Pixels of a character, of a node, and between nodes.
    rounds, pushes : int
        Of the layout, and of pushing nodes apart: enough for a few hundred nodes, a second of work at most.
    wide : float
        Ratio of width to height that parts without a connection are packed to.
    legend : int
        Lumps whose colours are told.
    seconds : float
        Graphviz may take.
    """

    species: int = 60
    reactions: int = 110
    groups: int = 60
    edges: int = 400
    label: int = 22
    step: float = 66.0
    stretch: float = 1.35
    letter: float = 6.7
    height: float = 22.0
    dot: float = 7.0
    gap: float = 12.0
    rounds: int = 120
    pushes: int = 150
    wide: float = 1.7
    legend: int = 8
    seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class NetworkPicture:
    """An ``svg`` element and its width in pixels at the size of its text, or ``None``; and what is to be said of it."""

    svg: str | None
    width: int
    note: str


@dataclass(frozen=True, slots=True)
class _Node:
    label: str
    title: str
    colour: str | None = None
    gone: bool = False
    is_reaction: bool = False


@dataclass(slots=True)
class _DrawnNetwork:
    """Nodes, and arrows between their positions with how many they stand for; without a head those that only act."""

    nodes: list[_Node] = field(default_factory=list)
    arrows: Counter[tuple[int, int, bool]] = field(default_factory=Counter)

    def add(self, node: _Node) -> int:
        """Its position."""
        self.nodes.append(node)
        return len(self.nodes) - 1


def network_pictures(
    reduction: ReducedSystem,
    written: OdeSystem,
    meanings: Mapping[str, Meaning],
    drawing: NetworkDrawing = NetworkDrawing(),
) -> tuple[NetworkPicture, NetworkPicture]:
    """The original and the reduced network.

    Parameters
    ----------
    reduction : ReducedSystem
    written : OdeSystem
        The reduced model as its file is read: it may have reactions where the equations have none.
    meanings : mapping of str to Meaning
    drawing : NetworkDrawing
    """
    group_of, colours = _groups(reduction, meanings)
    legend = [(colours[name], _named(reduction, meanings, name)) for name in list(colours)[: drawing.legend]]
    gone = set(reduction.vanished)
    notes: list[str] = []
    tints = {name: colours[group] for name, group in group_of.items()}
    whole = _network(reduction.original, tints, {}, gone, drawing)
    summarised = whole is None
    network = _summary(reduction, meanings, group_of, colours, drawing) if whole is None else whole
    if summarised and network is not None:
        notes.append(
            "Summarised, because all states and reactions would be too many to be read: the states of one lump are one "
            "node, and an arrow stands for all reactions between two."
        )
    if not reduction.matrix.proper and colours:
        notes.append("A state of several lumps is shown with the first of them.")
    if gone and not summarised:
        notes.append("Dashed: left out, without influence on what is observed.")
    first = _picture(network, "the original", "original", reduction.original, legend, notes, drawing)
    own = {name: colours[name] for name in reduction.system.states if name in colours}
    labels = {name: one.label for name, one in meanings.items() if one.label is not None}
    small = _network(written, own, labels, set(), drawing)
    return first, _picture(small, "the reduced model", "small", written, [], [], drawing)


def _groups(reduction: ReducedSystem, meanings: Mapping[str, Meaning]) -> tuple[dict[str, str], dict[str, str]]:
    """For each original state the first lump of several states that it is in; a colour for each of these lumps."""
    states = reduction.original.states
    group_of: dict[str, str] = {}
    colours: dict[str, str] = {}
    if any(one.kind == "coordinate" for one in meanings.values()):
        return {}, {}  # each state is in nearly all of them
    blocks = reduction.map.kind == "embedding"
    rows = reduction.map.lift.rows if blocks else reduction.matrix.rows
    for lump, row in zip(reduction.lumps, rows, strict=True):
        if len(row) < 2:
            continue
        colours[lump.id] = SERIES[len(colours) % len(SERIES)]
        for j in sorted(row):
            group_of.setdefault(states[j], lump.id)
    return group_of, colours


def _named(reduction: ReducedSystem, meanings: Mapping[str, Meaning], name: str) -> str:
    return meanings[name].label or _shown(reduction.system, name)


def _shown(system: OdeSystem, name: str) -> str:
    quantity = system.quantities.get(name)
    return one_line(quantity.name) if quantity is not None and quantity.name else name


# -- what is drawn ---------------------------------------------------------------------------------


def _network(
    system: OdeSystem, colours: Mapping[str, str], labels: Mapping[str, str], gone: set[str], drawing: NetworkDrawing
) -> _DrawnNetwork | None:
    """Species and reactions, or states and what they depend on where there are no reactions; ``None`` if too large."""
    if system.size > drawing.species or len(system.reactions) > drawing.reactions:
        return None
    made = _DrawnNetwork()
    place: dict[str, int] = {}

    def at(name: str) -> int:
        if name not in place:
            shown = labels.get(name) or _shown(system, name)
            title = name if shown == name else f"{shown} ({name})"
            place[name] = made.add(_Node(shortened(shown, drawing.label), title, colours.get(name), name in gone))
        return place[name]

    for name in system.states:
        at(name)
    known = set(system.states)
    for reaction in system.reactions:
        sides = [one.species for _, one in reaction.participants]
        if known.isdisjoint(sides):
            continue
        node = made.add(_Node("", one_line(reaction.name or reaction.id), is_reaction=True))
        for participant in reaction.reactants:
            made.arrows[at(participant.species), node, False] += 1
        for participant in reaction.products:
            made.arrows[node, at(participant.species), True] += 1
        for name in reaction.modifiers:
            if name in known:
                made.arrows[at(name), node, False] += 0  # acts, and is not used up: dashed
    moved = {name for one in system.reactions for name in one.taking_part}
    graph = system.graph
    for name, rhs in zip(system.states, system.rhs, strict=True):
        if name not in moved:
            for other in sorted(graph.symbols([rhs]) & known - {name}):
                made.arrows[at(other), at(name), True] += 1
    return made if len(made.arrows) <= drawing.edges else None


def _summary(
    reduction: ReducedSystem,
    meanings: Mapping[str, Meaning],
    group_of: Mapping[str, str],
    colours: Mapping[str, str],
    drawing: NetworkDrawing,
) -> _DrawnNetwork | None:
    """Lumps and single states, and how many reactions lead from one to another; ``None`` if that is too large, too."""
    system = reduction.original
    gone = set(reduction.vanished)
    sizes = Counter(group_of.get(name, "" if name in gone else name) for name in system.states)
    if len(sizes) > drawing.groups or not colours:
        return None
    made = _DrawnNetwork()
    place: dict[str, int] = {}
    for name, size in sizes.items():
        if name == "":
            node = _Node(f"{size} left out", "without influence on what is observed", None, gone=True)
        elif name in colours:
            label = _named(reduction, meanings, name)
            short = shortened(label, drawing.label)
            # a state of several lumps would be counted in one of them only
            texts = (f"{short}: {size}", f"{label}: {size} states") if reduction.matrix.proper else (short, label)
            node = _Node(*texts, colours[name])
        else:
            shown = _shown(system, name)
            node = _Node(shortened(shown, drawing.label), name if shown == name else f"{shown} ({name})")
        place[name] = made.add(node)
    at = {name: place[group_of.get(name, "" if name in gone else name)] for name in system.states}
    for reaction in system.reactions:
        before = {at[one.species] for one in reaction.reactants if one.species in at}
        after = {at[one.species] for one in reaction.products if one.species in at}
        for a in before - after or before:
            for b in after - before:
                made.arrows[a, b, True] += 1
    if not system.reactions:
        for name, rhs in zip(system.states, system.rhs, strict=True):
            for other in {at[n] for n in system.graph.symbols([rhs]) if n in at} - {at[name]}:
                made.arrows[other, at[name], True] += 1
    return made if len(made.arrows) <= drawing.edges else None


# -- where it stands -------------------------------------------------------------------------------


def _layout(network: _DrawnNetwork, sizes: Array, drawing: NetworkDrawing) -> tuple[Array, str]:
    """Middles of the nodes, (n, 2), and by what."""
    found = _by_graphviz(network, sizes, drawing)
    if found is not None:
        return found, "laid out by Graphviz"
    neighbours: list[set[int]] = [set() for _ in network.nodes]
    for a, b, _ in network.arrows:
        if a != b:
            neighbours[a].add(b)
            neighbours[b].add(a)
    parts = components([{i, *near} for i, near in enumerate(neighbours)], range(len(neighbours)))
    parts.sort(key=lambda part: (-len(part), part[0]))
    boxes = []
    for part in parts:
        places = _by_stress(part, neighbours, drawing)
        places = _apart(places, sizes[part], drawing)
        low = (places - sizes[part] / 2).min(axis=0)
        boxes.append((part, places - low, ((places + sizes[part] / 2).max(axis=0) - low)))
    return _packed(boxes, len(network.nodes), drawing), ""


def _by_stress(part: Sequence[int], neighbours: Sequence[set[int]], drawing: NetworkDrawing) -> Array:
    """Places whose distances are those in the graph, as far as a plane allows."""
    n = len(part)
    if n == 1:
        return np.zeros((1, 2))
    distances = _distances(part, neighbours)
    squared = distances**2
    centred = -0.5 * (squared - squared.mean(0) - squared.mean(1)[:, None] + squared.mean())
    values, vectors = np.linalg.eigh(centred)
    places = vectors[:, -2:] * np.sqrt(np.maximum(values[-2:], 1e-9))
    places *= np.where(places[np.abs(places).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)  # else LAPACK chooses the signs
    angle = np.arange(n) * 2.4  # what classical scaling puts in one place is drawn apart
    places = places[:, ::-1] + 0.05 * np.column_stack([np.cos(angle), np.sin(angle)])
    with np.errstate(divide="ignore"):
        weights = np.where(distances > 0, distances**-2.0, 0.0)
    total = weights.sum(axis=1)
    for _ in range(drawing.rounds):
        between = places[:, None] - places[None]
        length = np.sqrt((between**2).sum(axis=2))
        pull = weights * distances / np.maximum(length, 1e-6)
        target = (weights[:, :, None] * places[None] + pull[:, :, None] * between).sum(axis=1) / total[:, None]
        places = 0.3 * places + 0.7 * target
    return np.asarray((places - places.mean(axis=0)) * drawing.step * np.array([drawing.stretch, 1.0]))


def _distances(part: Sequence[int], neighbours: Sequence[set[int]]) -> Array:
    place = {node: i for i, node in enumerate(part)}
    out = np.zeros((len(part), len(part)))
    for i, start in enumerate(part):
        far = {start: 0}
        queue = deque([start])
        while queue:
            node = queue.popleft()
            for other in neighbours[node]:
                if other not in far:
                    far[other] = far[node] + 1
                    queue.append(other)
        for node, distance in far.items():
            out[i, place[node]] = distance
    return out


def _apart(places: Array, sizes: Array, drawing: NetworkDrawing) -> Array:
    """Nodes pushed apart until they do not overlap, each time along the shorter way."""
    places = places.copy()
    need = (sizes[:, None] + sizes[None]) / 2 + drawing.gap
    upper = np.triu(np.ones((len(places), len(places)), dtype=np.bool_), 1)
    for _ in range(drawing.pushes):
        between = places[:, None] - places[None]
        missing = need - np.abs(between)
        hit = (missing > 0.5).all(axis=2) & upper
        if not hit.any():
            break
        along_x = missing[..., 0] < missing[..., 1]
        for axis, chosen in ((0, hit & along_x), (1, hit & ~along_x)):
            sign = np.where(between[..., axis] >= 0, 1.0, -1.0)
            push = np.where(chosen, sign * missing[..., axis] / 2, 0.0)
            places[:, axis] += 0.6 * (push.sum(axis=1) - push.sum(axis=0))
    return places


def _packed(boxes: Sequence[tuple[list[int], Array, Array]], count: int, drawing: NetworkDrawing) -> Array:
    """Parts in rows, about as wide as wanted."""
    area = sum(float((size[0] + 2 * drawing.gap) * (size[1] + 2 * drawing.gap)) for *_, size in boxes)
    width = max([float(np.sqrt(area * drawing.wide)), *(float(size[0]) for *_, size in boxes)])
    out = np.zeros((count, 2))
    x, y, tall = 0.0, 0.0, 0.0
    for part, places, size in boxes:
        if x > 0 and x + size[0] > width:
            x, y, tall = 0.0, y + tall + 2 * drawing.gap, 0.0
        out[part] = places + np.array([x, y])
        x += float(size[0]) + 2 * drawing.gap
        tall = max(tall, float(size[1]))
    return out


def _by_graphviz(network: _DrawnNetwork, sizes: Array, drawing: NetworkDrawing) -> Array | None:
    """The same by ``dot``, which is told of numbers only; ``None`` where it is not installed or does not do it."""
    program = shutil.which("dot")
    if program is None:
        return None
    lines = ["digraph {", "nodesep=0.12; ranksep=0.25; node [shape=box, fixedsize=true];"]
    for i, (width, height) in enumerate(sizes.tolist()):
        lines.append(f'n{i} [label="", width={width / 72:.3f}, height={height / 72:.3f}];')
    lines += [f"n{a} -> n{b};" for a, b, _ in sorted(network.arrows)]
    try:
        done = subprocess.run(
            [program, "-Tplain"],
            input="\n".join([*lines, "}"]),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=drawing.seconds,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None  # the caption says who laid it out
    found = {
        w[1]: (float(w[2]) * 72, -float(w[3]) * 72)
        for line in done.stdout.splitlines()
        if (w := line.split())[:1] == ["node"]
    }
    if len(found) != len(network.nodes):
        return None
    return np.array([found[f"n{i}"] for i in range(len(network.nodes))])


# -- how it looks ----------------------------------------------------------------------------------


def _picture(
    network: _DrawnNetwork | None,
    what: str,
    prefix: str,
    system: OdeSystem,
    legend: Sequence[tuple[str, str]],
    notes: Sequence[str],
    drawing: NetworkDrawing,
) -> NetworkPicture:
    counts = f"{counted(system.size, 'state')} and {counted(len(system.reactions), 'reaction')}"
    if network is None:
        if not system.reactions:
            whose = f"{what[:1].upper()}{what[1:]}"
            message = f"{whose} has no reactions, and too many dependencies between its states to be drawn."
            return NetworkPicture(None, 0, message)
        return NetworkPicture(None, 0, f"The network of {what} is too large to be drawn: {counts}.")
    if not network.nodes:
        return NetworkPicture(None, 0, f"There is nothing to draw of {what}: {counts}.")
    sizes = np.array(
        [
            (drawing.dot, drawing.dot)
            if node.is_reaction
            else (max(len(node.label), 2) * drawing.letter + 12, drawing.height)
            for node in network.nodes
        ]
    )
    places, by = _layout(network, sizes, drawing)
    places = np.round(places - (places - sizes / 2).min(axis=0) + 8, 1)
    width, height = ((places + sizes / 2).max(axis=0) + 8).tolist()
    used = {node.colour for node in network.nodes}
    entries = [(colour, text) for colour, text in legend if colour in used]
    body = [*_arrows(network, places, sizes, prefix), *_nodes(network, places, sizes)]
    for i, (colour, text) in enumerate(entries):
        y = height + 14 + 18 * i
        body.append(f'<rect x="8" y="{y - 9:.1f}" width="12" height="12" rx="3" fill="{colour}"/>')
        body.append(f'<text x="26" y="{y + 1:.1f}">{escape(shortened(text, 60))}</text>')
        width = max(width, 26 + drawing.letter * min(len(text), 60))
    height += 18 * len(entries) + (12 if entries else 0)
    label = escape(f"Network of {what}: {counts}", quote=True)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{label}" class="network">'
    )
    marker = (
        f'<defs><marker id="{prefix}-head" viewBox="0 0 8 8" refX="7" refY="4" markerUnits="userSpaceOnUse" '
        'markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z" fill="var(--soft)"/></marker></defs>'
    )
    told = [f"{counts[:1].upper()}{counts[1:]}.", *notes, f"{by[:1].upper()}{by[1:]}." if by else ""]
    return NetworkPicture(f"{head}{marker}{''.join(body)}</svg>", round(width), " ".join(one for one in told if one))


def _arrows(network: _DrawnNetwork, places: Array, sizes: Array, prefix: str) -> Iterable[str]:
    for (a, b, head), count in sorted(network.arrows.items()):
        if a == b:
            continue
        start, end = _edge_of(places[a], places[b], sizes[a]), _edge_of(places[b], places[a], sizes[b])
        thick = 1.0 + min(3.0, 0.6 * float(np.log2(max(count, 1))))
        more = f' marker-end="url(#{prefix}-head)"' if head else ""
        more += "" if count else ' stroke-dasharray="2 3"'
        title = f"<title>{count} reactions</title>" if count > 1 else ""
        (x, y), (u, v) = start, end
        yield (
            f'<path d="M{x:.1f} {y:.1f}L{u:.1f} {v:.1f}" stroke="var(--soft)" stroke-width="{thick:.1f}" fill="none"'
            f"{more}>{title}</path>"
        )


def _edge_of(middle: Array, towards: Array, size: Array) -> tuple[float, float]:
    """Where a line leaves the box of a node."""
    between = towards - middle
    with np.errstate(divide="ignore"):
        scale = float(np.min(np.where(between == 0, np.inf, (size / 2 + 1) / np.abs(between))))
    x, y = (middle + between * min(scale, 1.0)).tolist()
    return x, y


def _nodes(network: _DrawnNetwork, places: Array, sizes: Array) -> Iterable[str]:
    for node, (x, y), (width, height) in zip(network.nodes, places.tolist(), sizes.tolist(), strict=True):
        title = f"<title>{escape(node.title)}</title>"
        if node.is_reaction:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{width / 2:.1f}" fill="var(--soft)">{title}</circle>'
            continue
        look = (
            f'fill="{node.colour}" fill-opacity="0.22" stroke="{node.colour}"'
            if node.colour
            else ('fill="var(--panel)" stroke="var(--rule)"')
        )
        box = f'x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" height="{height:.1f}" rx="6"'
        dashes = ' stroke-dasharray="4 3"' if node.gone else ""
        yield (
            f'<g>{title}<rect {box} fill="var(--paper)"/><rect {box} {look} stroke-width="1.4"{dashes}/>'
            f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">{escape(node.label)}</text></g>'
        )
