"""PEtab problems of the form of the Benchmark collection, with models and data of our own."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from sbml.read_models import assignment, compartment, listed, parameter, reaction, sbml, species

Row = Mapping[str, object]


@dataclass(frozen=True)
class Problem:
    """A model and the tables; ``measured`` are observables with their condition (after another one), times, more."""

    model: str
    parameters: Sequence[Row]
    conditions: Sequence[Row]
    observables: Sequence[Row]
    measured: Sequence[tuple[str, str, str, Sequence[float], Row]]
    size: tuple[int, int] = (0, 0)
    version: str = "1"
    more: Mapping[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """The files in a folder; the YAML file."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "the_model.xml").write_text(self.model)
        rng = np.random.default_rng(3)
        measurements = [
            {
                "observableId": observable,
                **({"preequilibrationConditionId": before} if any(one[2] for one in self.measured) else {}),
                "simulationConditionId": condition,
                "measurement": round(float(rng.uniform(0.3, 1.5)), 4),
                "time": time,
                **more,
            }
            for observable, condition, before, times, more in self.measured
            for time in times
        ]
        tables = {
            "parameter": self.parameters,
            "condition": self.conditions,
            "observable": self.observables,
            "measurement": measurements,
        }
        for name, rows in tables.items():
            with (folder / f"{name}_table.tsv").open("w", newline="") as handle:
                writer = csv.DictWriter(handle, list(dict.fromkeys(k for row in rows for k in row)), delimiter="\t")
                writer.writeheader()
                writer.writerows(rows)
        path = folder / "the_problem.yaml"
        path.write_text(
            f"format_version: {self.version}\nparameter_file: parameter_table.tsv\nproblems:\n"
            "- condition_files: [condition_table.tsv]\n  measurement_files: [measurement_table.tsv]\n"
            "  observable_files: [observable_table.tsv]\n  sbml_files: [the_model.xml]\n"
        )
        return path


def estimated(name: str, nominal: float, low: float = 1e-2, high: float = 1e2, scale: str = "log10") -> Row:
    """A row of the parameter table."""
    return {
        "parameterId": name,
        "parameterScale": scale,
        "lowerBound": low,
        "upperBound": high,
        "nominalValue": nominal,
        "estimate": 1,
    }


def fixed(name: str, value: float) -> Row:
    """A parameter that is not estimated."""
    return {**estimated(name, value, scale="lin"), "estimate": 0}


def observable(name: str, formula: str, noise: str = "0.1", transformation: str = "lin") -> Row:
    """A row of the observable table."""
    return {
        "observableId": name,
        "observableFormula": formula,
        "noiseFormula": noise,
        "observableTransformation": transformation,
        "noiseDistribution": "normal",
    }


def two_sites(initial: str = "", extra: Sequence[str] = (), constants: Sequence[str] = ()) -> str:
    """A receptor R binds a ligand L and, bound or not, has two equal sites: R00, R10, R01, R11 and the same with L."""
    names = [f"{base}{a}{b}" for base in ("R", "RL") for a in (0, 1) for b in (0, 1)]
    values = {"R00": 1.0}
    found = [species(n, f'initialConcentration="{values.get(n, 0)}"') for n in names]
    found.append(species("L", 'initialConcentration="1"'))
    reactions = []
    for a in (0, 1):
        for b in (0, 1):
            free, bound = f"R{a}{b}", f"RL{a}{b}"
            reactions.append(reaction(f"bind{a}{b}", f"{free} L", bound, f"c*kon*{free}*L"))
            reactions.append(reaction(f"leave{a}{b}", bound, f"{free} L", f"c*koff*{bound}"))
    for base in ("R", "RL"):
        for other in (0, 1):
            first = (f"{base}0{other}", f"{base}1{other}")
            second = (f"{base}{other}0", f"{base}{other}1")
            for site, (off, on) in (("a", first), ("b", second)):
                if base == "RL":
                    reactions.append(reaction(f"on{site}{base}{other}", off, on, f"c*kp*{off}"))
                reactions.append(reaction(f"off{site}{base}{other}", on, off, f"c*kd*{on}"))
    reactions += extra
    given = [parameter(n, v) for n, v in (("kon", "1"), ("koff", "0.3"), ("kp", "0.8"), ("kd", "0.2"))]
    body = listed("Compartments", compartment()) + listed("Species", *found)
    body += listed("Parameters", *given, *constants)
    body += listed("InitialAssignments", initial) if initial else ""
    return sbml(body + listed("Reactions", *reactions))


KINETIC = [estimated("kon", 1), estimated("koff", 0.3), estimated("kp", 0.8), estimated("kd", 0.2)]
TIMES = (0, 0.5, 2, 10)
BOUND = "RL00 + RL01 + RL10 + RL11"
SITES = "R10 + R01 + 2*R11 + RL10 + RL01 + 2*RL11"

PROBLEMS = {
    # scaling, offset and noise are parameters; doses of the ligand are initial values, one of them estimated
    "dose response": Problem(
        two_sites(),
        [
            *KINETIC, estimated("scale", 2), estimated("offset", 0.1), estimated("sd", 0.2),
            estimated("high_dose", 3), estimated("receptors", 1),
        ],
        [
            {"conditionId": "none", "L": 0, "R00": "receptors"},
            {"conditionId": "low", "L": 0.4, "R00": "receptors"},
            {"conditionId": "high", "L": "high_dose", "R00": "receptors"},
        ],
        [
            observable("bound", f"{BOUND} + 0.05", "sd"),
            observable("phosphorylated", f"offset + scale*({SITES})", "noiseParameter1_phosphorylated", "log10"),
        ],
        [
            *(("bound", c, "", TIMES, {}) for c in ("low", "high")),
            *(("phosphorylated", c, "", TIMES[1:], {"noiseParameters": "sd" if c == "low" else 0.3}) for c in
              ("none", "low", "high")),
        ],
        size=(9, 5),
    ),
    # a ratio, an assignment rule within the model, initial values by formulas of parameters, a compartment's size
    "fractions": Problem(
        two_sites(assignment("L", "ligand/c") + assignment("R00", "0.5*ligand"), constants=[parameter("ligand", "2")]),
        [*(one for one in KINETIC if one["parameterId"] != "kp"), fixed("ligand", 2.5), estimated("sd_rel", 0.1)],
        [{"conditionId": "a", "c": 2, "kp": 0.8}, {"conditionId": "b", "c": 3, "kp": 0.1}],
        [
            observable("fraction", f"100*({SITES})/(2*({BOUND} + R00 + R01 + R10 + R11))", "10*sd_rel"),
            observable("ligand_left", "observableParameter1_ligand_left*L"),
        ],
        [
            *(("fraction", c, "", TIMES[1:], {"observableParameters": ""}) for c in "ab"),
            *(("ligand_left", c, "", TIMES, {"observableParameters": 1.5}) for c in "ab"),
        ],
        size=(9, 5),
    ),
    # ligand is made and lost; at steady state of one condition another begins, which sets the ligand
    "after a preequilibration": Problem(
        two_sites(
            extra=[reaction("make", "", "L", "c*ks"), reaction("lose", "L", "", "c*0.1*L")],
            constants=[parameter("ks", "0.1")],
        ),
        [*KINETIC, estimated("stimulus", 2)],
        [
            {"conditionId": "rest", "ks": 0.02, "L": 0.0},
            {"conditionId": "stimulated", "ks": 0.02, "L": "stimulus"},
            {"conditionId": "more_made", "ks": 0.5, "L": "NaN"},
        ],
        [observable("sites", SITES), observable("free_ligand", "L", "0.05")],
        [
            ("sites", "stimulated", "rest", TIMES, {}),
            ("free_ligand", "stimulated", "rest", TIMES[1:], {}),
            ("sites", "more_made", "rest", (*TIMES, float("inf")), {}),
        ],
        size=(9, 5),
    ),
}  # fmt: skip
