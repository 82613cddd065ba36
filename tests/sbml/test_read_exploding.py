"""Small files whose numbers or expressions explode are read, written and proved in bounded time, or refused."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from exploding_models import exploding_models
from hypothesis import given
from hypothesis import strategies as st

from sbmlump.errors import LimitError
from sbmlump.model import MAX_BITS, Graph, Node, Op, explodes, require_writable, written_sizes

_SECONDS = 3.0  # of processor time, for one command on one file; 0.1 is what most take
_MEGABYTES = 500

#: Reads and writes every file, and does all the rest with some, one after the other under one limit of memory.
_CHILD = """
import json, resource, sys, time
from pathlib import Path
import sbmlump
from sbmlump.errors import SbmlumpError
folder = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))

def inspect(path):
    system = sbmlump.load(path)
    return system.initial_state(), system.rates(0.0, system.initial_state())

def reduce(path):
    sbmlump.reduce(sbmlump.load(path), observe=["A"]).write(folder / "o.xml")

jobs = {
    "inspect": inspect,
    "reduce": reduce,
    "ode": lambda path: sbmlump.convert(path, folder / "o.ode"),
    "tex": lambda path: sbmlump.convert(path, folder / "o.tex"),
    "omex": lambda path: sbmlump.convert(path, folder / "o.omex"),
    "verify": lambda path: sbmlump.verify(path, path),
}
chosen = json.loads(sys.argv[2])
for path in sorted(folder.glob("*.*")):
    if path.stem == "o":
        continue
    for name, job in jobs.items():
        if name not in ("inspect", "ode") and path.name not in chosen:
            continue
        begin = time.process_time()
        try:
            job(path)
            outcome = "done"
        except SbmlumpError as error:
            outcome = error.reasons[0].code
        print(json.dumps([path.name, name, outcome, time.process_time() - begin]), flush=True)
# the peak of this program: that of getrusage includes what the process that started it had (Linux keeps it on exec)
status = Path("/proc/self/status")
lines = status.read_text().splitlines() if status.exists() else []
own = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
peak = own[0] if own else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps(["", "peak", "", peak / 1000]))
"""
_EXPECTED = {
    "done",
    "bad-number",
    "degree-too-high",
    "invalid-sbml",
    "not-xml",
    "too-large",
    "ode-not-expressible",
    "ode-syntax",
}


@pytest.mark.skipif(sys.platform == "win32", reason="limits of processes are those of POSIX")
def test_every_command_is_done_or_refuses_in_bounded_time_and_memory(tmp_path: Path) -> None:
    names = []
    for name, text in exploding_models():
        names.append(name)
        (tmp_path / name).write_text(text, encoding="utf-8")
    chosen = json.dumps([*names[::5], "functions_same.xml"])  # enough for a suite that has to be fast
    command = [sys.executable, "-W", "ignore", "-c", _CHILD, str(tmp_path), chosen]
    done = subprocess.run(command, capture_output=True, timeout=300, check=False)
    lines = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert done.returncode == 0, (lines[-1:], done.stderr.decode()[-2000:])
    assert [line for line in lines if line[2] and line[2] not in _EXPECTED] == []
    assert [line for line in lines[:-1] if line[3] > _SECONDS] == []
    assert lines[-1][3] < _MEGABYTES
    refused = {line[0] for line in lines if line[1] == "inspect" and line[2] == "too-large"}
    assert {"rules_of_numbers_square.xml", "starts_square.xml", "functions_distinct.xml", "chain.ode"} <= refused
    assert "functions_same.xml" not in refused  # shared expressions are no trouble until they are written in full
    outcomes = {(line[0], line[1]): line[2] for line in lines}
    assert outcomes["functions_same.xml", "reduce"] == "done"
    assert outcomes["functions_same.xml", "ode"] == "too-large"


def test_numbers_beyond_the_bound_are_refused_where_they_are_made() -> None:
    graph = Graph()
    large = graph.number(Fraction(3) ** (MAX_BITS // 2))
    for make in (
        lambda: graph.mul((large, large)),
        lambda: graph.add((large, graph.number(Fraction(1, 7**5000)))),
        lambda: graph.div(large, graph.number(Fraction(1, 7**5000))),
        lambda: graph.number(1 << (MAX_BITS + 1)),
        lambda: graph.decimal(1e300) if graph.mul([graph.decimal(1e300)] * 50) else 0,
    ):
        with pytest.raises(LimitError) as caught:
            make()
        assert caught.value.reasons[0].code == "too-large"
    tower = graph.pow(large, graph.number(10**9))
    assert graph.op(tower) is Op.POW


def doubled(graph: Graph, root: Node, levels: int) -> Node:
    """Sums of a thing and itself."""
    for _ in range(levels):
        root = graph.add((root, root))
    return root


def test_sizes_are_counted_without_walking() -> None:
    graph = Graph()
    x = graph.symbol("x")
    assert written_sizes(graph, [x, doubled(graph, x, 1), doubled(graph, x, 10)]) == [1, 3, 2047]
    assert not explodes(graph, [doubled(graph, x, 10)])
    assert explodes(graph, [doubled(graph, x, 500)])
    with pytest.raises(LimitError) as caught:
        require_writable(graph, [x, doubled(graph, x, 60)], ["a", "b"], "a test")
    assert caught.value.reasons[0].element == "b"


@given(st.data())
def test_linear_terms_of_shared_sums_are_those_of_every_path(data: st.DataObject) -> None:
    graph = Graph()
    nodes = [graph.symbol("a"), graph.symbol("b"), graph.number(1), graph.number(Fraction(-3, 2)), graph.time()]
    for _ in range(data.draw(st.integers(1, 14))):
        left, right = (nodes[data.draw(st.integers(0, len(nodes) - 1))] for _ in range(2))
        factor = graph.number(data.draw(st.fractions(-3, 3, max_denominator=4)))
        kind = data.draw(st.sampled_from(["add", "scale", "mul", "add3"]))
        if kind == "add":
            nodes.append(graph.add((left, right)))
        elif kind == "add3":
            nodes.append(graph.add((left, graph.mul((factor, right)), left)))
        elif kind == "scale":
            nodes.append(graph.mul((factor, left)))
        else:
            nodes.append(graph.mul((left, right)))
    expected: dict[Node, Fraction] = {}
    stack = [(nodes[-1], Fraction(1))]
    while stack:  # along every path
        node, weight = stack.pop()
        args, number = graph.args(node), graph.number_of(node)
        scale = graph.number_of(args[0]) if graph.op(node) is Op.MUL else None
        if number is not None:
            one = graph.number(1)
            expected[one] = expected.get(one, Fraction(0)) + weight * number
        elif graph.op(node) is Op.ADD:
            stack += [(arg, weight) for arg in args]
        elif scale is not None:
            stack.append((args[1], weight * scale))
        else:
            expected[node] = expected.get(node, Fraction(0)) + weight
    assert graph.linear_terms(nodes[-1]) == {node: value for node, value in expected.items() if value}


def test_linear_terms_of_sixty_doublings() -> None:
    graph = Graph()
    x = graph.symbol("x")
    root = graph.mul((graph.number(3), doubled(graph, graph.add((x, graph.number(5))), 60)))
    assert graph.linear_terms(root) == {x: Fraction(3 * 2**60), graph.number(1): Fraction(15 * 2**60)}
