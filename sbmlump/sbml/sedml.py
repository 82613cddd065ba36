"""SED-ML Level 1 Version 4: the same uniform time course of one or two models, and a plot of what they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.parsers import expat

from sbmlump.sbml.write_elements import element, section
from sbmlump.sbml.write_xml import attributes

__all__ = ["Curve", "SedmlModel", "Targets", "sedml_text", "targets_of"]

NAMESPACE: Final = "http://sed-ml.org/sed-ml/level1/version4"
_MATHML: Final = "http://www.w3.org/1998/Math/MathML"
_TIME: Final = "urn:sedml:symbol:time"
_CVODE, _RELATIVE, _ABSOLUTE, _STEPS = "KISAO:0000019", "KISAO:0000209", "KISAO:0000211", "KISAO:0000415"
_LISTS: Final = {
    "species": "listOfSpecies",
    "parameter": "listOfParameters",
    "compartment": "listOfCompartments",
    "reaction": "listOfReactions",
}


@dataclass(frozen=True, slots=True)
class Targets:
    """What of an SBML file can be addressed: its namespace, level and version, and the XPath of each id."""

    namespace: str
    level: int
    version: int
    paths: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SedmlModel:
    """A model of the experiment: its id there, the name of its file in the archive, and what can be addressed in it."""

    id: str
    file: str
    targets: Targets


@dataclass(frozen=True, slots=True)
class Curve:
    """One curve: which model, its label, the ids it needs, and content MathML over them."""

    model: str
    label: str
    needs: tuple[str, ...]
    mathml: str


def targets_of(data: bytes) -> Targets:
    """Namespace and addressable elements (species, parameters, compartments, reactions) of an SBML file."""
    head: dict[str, str] = {}
    paths: dict[str, str] = {}
    open_: list[str] = []
    parser = expat.ParserCreate(namespace_separator=" ")

    def start(name: str, given: dict[str, str]) -> None:
        space, _, tag = name.rpartition(" ")
        if not open_:
            head.update(space=space, level=given.get("level", "3"), version=given.get("version", "1"))
        elif len(open_) == 3 and open_[1] == "model" and _LISTS.get(tag) == open_[2] and "id" in given:
            paths[given["id"]] = f"/sbml:sbml/sbml:model/sbml:{open_[2]}/sbml:{tag}[@id='{given['id']}']"
        open_.append(tag)

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: open_.pop()
    parser.Parse(data, True)
    return Targets(head["space"], int(head["level"]), int(head["version"]), paths)


def sedml_text(models: Sequence[SedmlModel], curves: Sequence[Curve], until: float, points: int, title: str) -> str:
    """The experiment.

    Parameters
    ----------
    models : sequence of ModelFile
    curves : sequence of Curve
        All go into one plot and one report.
    until : float
        Horizon, in the models' unit of time.
    points : int
        Points of the grid, both ends included.
    title : str
        Of the plot.
    """
    parameters = "".join(
        f"<algorithmParameter{attributes(kisaoID=term, value=value)}/>\n"
        for term, value in ((_RELATIVE, "1e-10"), (_ABSOLUTE, "1e-12"), (_STEPS, "20000"))
    )
    algorithm = element("algorithm", attributes(kisaoID=_CVODE), section("listOfAlgorithmParameters", [parameters]))
    grid = attributes(
        id="time_course",
        initialTime="0",
        outputStartTime="0",
        outputEndTime=repr(float(until)),
        numberOfSteps=str(points - 1),
    )
    sources = (f"<model{attributes(id=one.id, language=_language(one), source=one.file)}/>\n" for one in models)
    tasks = (
        f"<task{attributes(id=f'run_{one.id}', modelReference=one.id, simulationReference='time_course')}/>\n"
        for one in models
    )
    by_id = {one.id: one for one in models}
    generators = [_time(one.id) for one in models]
    generators += [_generator(i, curve, by_id[curve.model]) for i, curve in enumerate(curves)]
    body = (
        section("listOfModels", sources)
        + section("listOfSimulations", [element("uniformTimeCourse", grid, algorithm)])
        + section("listOfTasks", tasks)
        + section("listOfDataGenerators", generators)
        + section("listOfOutputs", [_plot(curves, title), _report(models, curves)])
    )
    head = attributes(xmlns=NAMESPACE, level="1", version="4")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<sedML{head}>\n{body}</sedML>\n'


def _language(model: SedmlModel) -> str:
    return f"urn:sedml:language:sbml.level-{model.targets.level}.version-{model.targets.version}"


def _time(model: str) -> str:
    variable = f"<variable{attributes(id='time', symbol=_TIME, taskReference=f'run_{model}')}/>\n"
    return _data(f"time_{model}", "time", [variable], "<ci> time </ci>")


def _generator(index: int, curve: Curve, model: SedmlModel) -> str:
    variables = []
    for need in curve.needs:
        head = attributes(
            id=need,
            target=model.targets.paths[need],
            taskReference=f"run_{model.id}",
            **{"xmlns:sbml": model.targets.namespace},
        )
        variables.append(f"<variable{head}/>\n")
    return _data(f"data_{index}", curve.label, variables, curve.mathml)


def _data(name: str, label: str, variables: list[str], mathml: str) -> str:
    math = f'<math xmlns="{_MATHML}">{mathml}</math>\n'
    return element("dataGenerator", attributes(id=name, name=label), section("listOfVariables", variables) + math)


def _plot(curves: Sequence[Curve], title: str) -> str:
    items = []
    for i, curve in enumerate(curves):
        head = attributes(
            id=f"curve_{i}",
            name=curve.label,
            xDataReference=f"time_{curve.model}",
            yDataReference=f"data_{i}",
            type="points",
            order=str(i),
        )
        items.append(f"<curve{head}/>\n")
    axes = (
        f"<xAxis{attributes(id='x_axis', type='linear', name='time')}/>\n"
        f"<yAxis{attributes(id='y_axis', type='linear')}/>\n"
    )
    return element("plot2D", attributes(id="plot", name=title), axes + section("listOfCurves", items))


def _report(models: Sequence[SedmlModel], curves: Sequence[Curve]) -> str:
    sets = [
        f"<dataSet{attributes(id=f'set_time_{one.id}', label=f'time of {one.id}', dataReference=f'time_{one.id}')}/>\n"
        for one in models
    ]
    sets += [
        f"<dataSet{attributes(id=f'set_{i}', label=curve.label, dataReference=f'data_{i}')}/>\n"
        for i, curve in enumerate(curves)
    ]
    return element("report", attributes(id="report", name="all curves"), section("listOfDataSets", sets))
