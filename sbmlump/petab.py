"""A PEtab problem (format 1) with a smaller model: its model reduced, so that no observable changes in any condition.

What has to be kept is in the tables. *Observables*: what observable and noise formulas read of the model; a sum of
quantities within a formula is observed as one quantity, which the formula then names. *Symbolic parameters*: all ids of
the model in the parameter table and in the columns of the condition table, so that the reduction holds for all their
values. *Initial values* that conditions set: of a species that is lumped they go into the formula of the lump's initial
value, by a constant ``initial_S`` that takes the place of ``S`` in the condition table.

References
----------
Schmiester et al., PEtab — interoperable specification of parameter estimation problems in systems biology,
PLoS Comput. Biol. 17 (2021), doi 10.1371/journal.pcbi.1008646.
"""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np

from sbmlump.errors import InputError, LimitError, Reason, UnsupportedModelError, UsageError, some_names
from sbmlump.files import (
    MAX_BYTES,
    make_folder,
    read_model_file,
    read_whole,
    refuse_output,
    temporary_folder,
    with_mark,
    write_atomically,
)
from sbmlump.jobs import ContradictedError, written_as_sbml
from sbmlump.methods.method import Clock, ExactMethod, Progress, unheard
from sbmlump.methods.registry import ReduceOptions, reduce_by, reduce_options
from sbmlump.model.evaluate import values_of
from sbmlump.model.names import free_id
from sbmlump.model.properties import kinetics_of_system
from sbmlump.model.reduced import ExactProof, ReducedSystem
from sbmlump.model.system import Constant, OdeSystem, Quantity
from sbmlump.options import names_in
from sbmlump.outcome import ModelFacts, Outcome
from sbmlump.sbml.read.load import read_sbml

__all__ = ["PetabSettings", "drawn_parameters", "reduce_petab"]

_ALL: Final = "all"
_NONE: Final = "none"


@dataclass(frozen=True, slots=True)
class PetabSettings:
    """How the problem that is written is held against the one that was read.

    Attributes
    ----------
    draws : int
        Values of the estimated parameters, drawn within their bounds on their scales, at which all conditions of both
        problems are simulated; the nominal values come first.
    tolerance : float
        Largest difference of a simulated observable, relative to its largest value in the condition, that is put down
        to the integrator.
    named : int
        Ids that a message names.
    """

    draws: int = 2
    tolerance: float = 1e-6
    named: int = 6


_SETTINGS: Final = PetabSettings()
_MODEL: Final = "model.xml"
_FILES: Final = {
    "condition": "conditions.tsv",
    "measurement": "measurements.tsv",
    "observable": "observables.tsv",
    "parameter": "parameters.tsv",
    "visualization": "visualization.tsv",
}
_YAML: Final = "problem.yaml"


def reduce_petab(
    path: str | Path,
    folder: str | Path,
    options: ReduceOptions | Mapping[str, Any] | None = None,
    *,
    force: bool = False,
    progress: Progress = unheard,
    clock: Clock = time.perf_counter,
    settings: PetabSettings = _SETTINGS,
) -> Outcome:
    """Reduce the model of a PEtab problem, and write the problem with the smaller model.

    Parameters
    ----------
    path : str or Path
        The problem's YAML file.
    folder : str or Path
        Where the problem is written: ``problem.yaml``, the model and the tables.
    options : ReduceOptions or mapping, optional
        Of the reduction, an exact one; parameters to keep come on top of those of the tables.
    force : bool
        Whether files that this program did not write may be replaced.
    progress, clock : callable
        Told what is done; asked for the time.
    settings : PetabSettings

    Returns
    -------
    Outcome
        ``output`` is the YAML file that was written.

    Raises
    ------
    UnsupportedModelError
        Codes ``extra-missing``, ``petab-format``, ``petab-not-kept`` and those of the reduction.
    InputError
        Code ``petab-invalid`` if it is no valid problem.
    """
    petab = _library()
    chosen = options if isinstance(options, ReduceOptions) else reduce_options(**(options or {}))
    target = Path(folder)
    _refuse_folder(target, Path(path), force=force)
    times = [clock()]
    progress("reading the problem")
    problem = _read(petab, Path(path))
    from sbmlump.simulators.petab import nominal_values

    nominal = nominal_values(problem)
    named = frozenset(map(str, (*problem.parameter_df.index, *problem.condition_df.columns)))
    result = read_sbml(read_model_file(_model_file(problem)), unvalued=named)
    system = _with_nominal_values(result.required(), nominal)
    times.append(clock())
    tables = _Tables.of(petab, problem, system, settings)
    reduction = _reduced(tables, chosen, progress)
    tables.refuse_lost(reduction)
    times.append(clock())
    progress("writing")
    document = written_as_sbml(reduction, as_rate_rules=chosen.as_rate_rules)
    sbml = document.data if reduction.reducible else _model_file(problem).read_bytes()  # unchanged, as its tables are
    written = tables.rewritten(document.data) if reduction.reducible else problem
    _lint(petab, written, f"the problem in {target} would not be valid")
    remarks = [*system.origin.remarks, *reduction.reasons]
    times.append(clock())
    if chosen.check and reduction.reducible:
        progress("simulating both problems")
        remarks.append(_agreement(problem, written, chosen.seed, settings))
    times.append(clock())
    _write(written, target, sbml)
    remarks += [Reason("reduction-remark", text) for text in reduction.remarks]
    spent = [end - begin for begin, end in itertools.pairwise(times)]
    names = ("read", "lump", "write", "simulate", "total")
    return Outcome(
        "reduced" if reduction.reducible else "not-reducible",
        ModelFacts(system.id, str(path), system.size, kinetics_of_system(system)),
        chosen.method,
        reduction,
        None,
        str(target / _YAML),
        dict(zip(names, (*spent, times[-1] - times[0]), strict=True)),
        tuple(remarks),
        document=document,
        exit_code=1 if chosen.strict and not reduction.reducible else 0,
    )


def _library() -> Any:
    try:
        import petab.v1 as petab
    except ImportError as error:
        message = "PEtab problems need the package petab; install it with: pip install 'sbmlump[petab]'"
        raise UnsupportedModelError(Reason("extra-missing", message)) from error
    return petab


# -- reading -----------------------------------------------------------------------------------------


def _files_named(config: Mapping[str, Any], folder: Path) -> list[Path]:
    """Files that a problem names and that are there; what is missing or not a name, PEtab says."""
    listed = config.get("problems")
    problems = [one for one in (listed if isinstance(listed, list) else ()) if isinstance(one, dict)]
    values = [config.get("parameter_file"), *(value for one in problems for value in one.values())]
    names = [name for value in values for name in (value if isinstance(value, list) else [value])]
    paths = [folder / name for name in names if isinstance(name, str) and "://" not in name]
    return [path for path in paths if path.exists() and not path.is_dir()]


def _read(petab: Any, path: Path) -> Any:
    """The problem, which has to be a valid one of format 1 with one model in SBML."""
    read_whole(path, MAX_BYTES, "PEtab")  # refuses what is no regular file, which PEtab would wait for
    unreadable: type[Exception] = import_module("yaml").YAMLError  # PEtab brings it, and lets it through
    try:
        config = petab.yaml.load_yaml(str(path))
        if not isinstance(config, dict):
            raise TypeError("it holds no names with values")
        for file in _files_named(config, path.parent):
            read_whole(file, MAX_BYTES, "PEtab")
        major, _, _ = str(config.get("format_version", "")).partition(".")
        problem = None if major == "2" else petab.Problem.from_yaml(str(path))
    except (ValueError, KeyError, TypeError, OSError, AssertionError, NotImplementedError, unreadable) as error:
        raise InputError(Reason("petab-invalid", f"{path} is no problem that PEtab reads: {error}")) from error
    if problem is None:
        message = (
            f"{path} is a problem of PEtab's format 2, of which nothing is read here (its conditions, experiments and "
            "mappings are other tables); take its format 1"
        )
        raise UnsupportedModelError(Reason("petab-format", message))
    tables = (problem.condition_df, problem.measurement_df, problem.observable_df, problem.parameter_df)
    if problem.model is None or any(table is None for table in tables):
        message = f"{path} lacks a model or one of the tables of conditions, observables, measurements and parameters"
        raise InputError(Reason("petab-invalid", message))
    _lint(petab, problem, f"{path} is no valid problem")
    return problem


def _model_file(problem: Any) -> Path:
    """The SBML file of a problem."""
    return Path(str(problem.model.base_path or ""), str(problem.model.rel_path))


class _Collected(logging.Handler):
    """Keeps the messages of errors."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one message."""
        self.said.append(record.getMessage())


def _lint(petab: Any, problem: Any, what: str) -> None:
    """Refuse a problem that PEtab's own checks refuse, with what they say."""
    logger, said = logging.getLogger("petab"), _Collected()
    level, spread = logger.level, logger.propagate
    logger.addHandler(said)
    logger.propagate = False
    try:
        wrong = petab.lint_problem(problem)
    finally:
        logger.removeHandler(said)
        logger.setLevel(level)
        logger.propagate = spread
    if wrong:
        listed = "; ".join(text for text in said.said if text != "Not OK")
        raise InputError(Reason("petab-invalid", f"{what}: {listed}"))


# -- what the tables ask for -------------------------------------------------------------------------


@dataclass
class _Tables:
    """The problem, and what its tables ask of a reduction.

    Attributes
    ----------
    problem : petab.v1.Problem
    original : OdeSystem
        The model.
    system : OdeSystem
        The same with constants for the initial values that conditions set.
    initial : dict of state id to str
        These constants.
    states : tuple of str
        States that conditions set after a preequilibration: they have to stay what they are.
    observed : dict of str to str
        Observables of the reduction: name and expression.
    formulas : dict of (observable id, column) to str
        Formulas that name sums which are observed.
    symbolic : tuple of str
        Constants that are kept symbolic.
    """

    petab: Any
    problem: Any
    original: OdeSystem
    system: OdeSystem
    settings: PetabSettings
    initial: dict[str, str] = field(default_factory=dict)
    states: tuple[str, ...] = ()
    observed: dict[str, str] = field(default_factory=dict)
    formulas: dict[tuple[str, str], str] = field(default_factory=dict)
    symbolic: tuple[str, ...] = ()

    @classmethod
    def of(cls, petab: Any, problem: Any, system: OdeSystem, settings: PetabSettings) -> _Tables:
        """Look into the tables."""
        tables = cls(petab, problem, system, system, settings)
        tables._conditions()
        tables._observables()
        constants = {constant.id for constant in tables.system.constants}
        named = [*problem.parameter_df.index, *problem.condition_df.columns, *tables.initial.values()]
        tables.symbolic = tuple(dict.fromkeys(name for name in named if name in constants))
        return tables

    # -- conditions ----------------------------------------------------------------------------------

    def _conditions(self) -> None:
        """Initial values that conditions set, as constants; those that are set after a preequilibration as states."""
        petab, problem, system = self.petab, self.problem, self.original
        columns = [name for name in problem.condition_df.columns if name != petab.C.CONDITION_NAME]
        assigned = {one.id for one in system.assigned}
        wrong = [name for name in columns if name in assigned]
        if wrong:
            raise self._not_kept(wrong, "conditions set it, but a rule gives it at all times")
        after = self._after_preequilibration()
        moving = [name for name in columns if name in system.state_index]
        sizes = [n for n in columns if n in system.quantities and system.quantities[n].kind == "compartment"]
        if after is not None and sizes:
            raise self._not_kept(sizes, "conditions with a preequilibration set the size of a compartment")
        self.states = tuple(name for name in moving if after is not None and not after[name].isna().all())
        self.initial = {}
        taken = set(system.taken_ids) | {str(name) for name in problem.parameter_df.index} | set(columns)
        for name in moving:
            if name not in self.states:
                self.initial[name] = free_id(f"initial_{name}", taken)
                taken.add(self.initial[name])
        self.system = _with_initial_constants(system, self.initial)

    def _after_preequilibration(self) -> Any:
        """Rows of the condition table that follow a preequilibration; ``None`` if there is none."""
        petab = self.petab
        table = self.problem.measurement_df
        if petab.C.PREEQUILIBRATION_CONDITION_ID not in table:
            return None
        rows = table[table[petab.C.PREEQUILIBRATION_CONDITION_ID].notna()]
        rows = rows[rows[petab.C.PREEQUILIBRATION_CONDITION_ID].astype(str) != ""]
        return None if rows.empty else self.problem.condition_df.loc[list(set(rows[petab.C.SIMULATION_CONDITION_ID]))]

    def _not_kept(self, names: Sequence[str], why: str) -> UnsupportedModelError:
        listed = some_names(names, self.settings.named)
        return UnsupportedModelError(Reason("petab-not-kept", f"{listed}: {why}", names[0]))

    # -- formulas ------------------------------------------------------------------------------------

    def _observables(self) -> None:
        """What the formulas read of the model; sums within them are observed as one."""
        from petab.v1.math import petab_math_str, sympify_petab

        petab, problem = self.petab, self.problem
        constants = {constant.id for constant in self.system.constants}
        moving = set(self.system.definitions) - constants
        taken = {*self.system.taken_ids, *self.initial.values(), *map(str, problem.parameter_df.index)}
        taken |= {*map(str, problem.observable_df.index), *map(str, problem.condition_df.columns)}
        sums: dict[Any, str] = {}
        for observable, row in problem.observable_df.iterrows():
            for column in (petab.C.OBSERVABLE_FORMULA, petab.C.NOISE_FORMULA):
                if column not in row or not isinstance(row[column], str):
                    continue
                given = sympify_petab(row[column])
                found = self._named(given, f"observed_{observable}", moving, taken, sums)
                if found != given:
                    self.formulas[str(observable), column] = petab_math_str(found)
        self.observed |= {name: name for name in self.states}

    def _named(self, expression: Any, stem: str, moving: set[str], taken: set[str], sums: dict[Any, str]) -> Any:
        """The expression with the name of an observable in the place of each sum of quantities of the model."""
        import sympy

        if expression.is_Symbol:
            name = str(expression)
            if name in moving:
                self.observed.setdefault(name, name)
            return expression
        if not expression.args:
            return expression
        if expression.is_Add:
            terms = {arg: found for arg in expression.args if (found := _multiple(arg, moving)) is not None}
            if len(terms) > 1:
                total = sympy.Add(*terms)
                if total not in sums:
                    sums[total] = free_id(stem, taken)
                    taken.add(sums[total])
                    self.observed[sums[total]] = " + ".join(
                        name if factor == 1 else f"({factor!r}) * {name}" for factor, name in terms.values()
                    )
                rest = [self._named(arg, stem, moving, taken, sums) for arg in expression.args if arg not in terms]
                return sympy.Add(sympy.Symbol(sums[total], real=True), *rest)
        return expression.func(*(self._named(arg, stem, moving, taken, sums) for arg in expression.args))

    # -- afterwards ----------------------------------------------------------------------------------

    def refuse_lost(self, reduction: ReducedSystem) -> None:
        """Refuse a reduction that does not hold for all values, or in which what conditions set has no place.

        Raises
        ------
        UnsupportedModelError
            Code ``petab-not-kept``.
        """
        certificate = reduction.certificate
        if not isinstance(certificate, ExactProof):
            why = f"the method {reduction.method} approximates it near the values of the file; take an exact one"
            raise self._not_kept([self.original.id], why)
        rests = [name for name in self.symbolic if name in certificate.valid_for]
        if rests:
            raise self._not_kept(rests, "the reduction holds for one value of it only; take another method")
        if certificate.domain is not None:
            raise self._not_kept(
                [self.original.id], f"the reduction holds on a part of the states only: {certificate.domain}"
            )
        preequilibrated = self._after_preequilibration() is not None
        if not reduction.reducible:
            return
        if preequilibrated and reduction.map.kind == "elimination":
            why = "constants would hold initial values before the preequilibration; take the method exact"
            raise self._not_kept([self.original.id], why)
        alone = {lump.id for lump in reduction.lumps if set(lump.members) == {lump.id}}
        mixed = {name for lump in reduction.lumps if lump.id not in alone for name in lump.members}
        lost = [name for name in self.states if name not in alone or name in mixed]
        if lost:
            why = (
                "conditions set it after a preequilibration, but it is part of a lump, whose other members would go on"
            )
            raise self._not_kept(lost, why)

    def rewritten(self, sbml: bytes) -> Any:
        """The problem with the smaller model."""
        from petab.v1.models.sbml_model import SbmlModel

        petab, problem = self.petab, self.problem
        conditions = problem.condition_df.copy()
        for state in self.initial:
            column = conditions[state]
            if column.isna().any():
                conditions[state] = column.astype(object).where(column.notna(), self._default(state))
        conditions = conditions.rename(columns=self.initial)
        observables = problem.observable_df.copy()
        for (observable, column), formula in self.formulas.items():
            observables.loc[observable, column] = formula
        return petab.Problem(
            model=SbmlModel.from_string(sbml.decode()),
            condition_df=conditions,
            observable_df=observables,
            measurement_df=problem.measurement_df.copy(),
            parameter_df=problem.parameter_df.copy(),
            visualization_df=None if problem.visualization_df is None else problem.visualization_df.copy(),
        )

    def _default(self, state: str) -> float:
        """The initial value that a condition leaves as it is in the model."""
        system = self.original
        value = system.at_start(frozenset(self.symbolic) & {c.id for c in system.constants}).get(state)
        if value is None or system.graph.symbols([value]):
            why = "some conditions set its initial value, and others leave it to a formula of parameters; set it in all"
            raise self._not_kept([state], why)
        return float(values_of(system.graph, [value])[0])


def _multiple(term: Any, moving: set[str]) -> tuple[float, str] | None:
    """Factor and id of a multiple of a quantity of the model."""
    factor, rest = term.as_coeff_Mul()
    return (float(factor), str(rest)) if rest.is_Symbol and str(rest) in moving else None


def _with_initial_constants(system: OdeSystem, names: Mapping[str, str]) -> OdeSystem:
    """The system with constants in the place of the initial values of some states."""
    if not names:
        return system
    graph = system.graph
    place = system.state_index
    constants = tuple(Constant(new, system.initial[place[state]], computed=True) for state, new in names.items())
    initial = tuple(
        graph.symbol(names[state]) if state in names else value
        for state, value in zip(system.states, system.initial, strict=True)
    )
    quantities = dict(system.quantities)
    for state, new in names.items():
        quantities[new] = Quantity(new, "parameter", name=f"initial value of {state}", written_constant=True)
    return replace(system, constants=(*system.constants, *constants), initial=initial, quantities=quantities)


def _with_nominal_values(system: OdeSystem, values: Mapping[str, float]) -> OdeSystem:
    """The system with values of the parameter table where the file gives none."""
    graph = system.graph
    return replace(
        system,
        constants=tuple(
            replace(c, value=graph.number(Fraction(repr(values[c.id])))) if c.value is None and c.id in values else c
            for c in system.constants
        ),
    )


def _reduced(tables: _Tables, options: ReduceOptions, progress: Progress) -> ReducedSystem:
    """The reduction that the tables ask for."""
    texts = [name if name == expression else f"{name} = {expression}" for name, expression in tables.observed.items()]
    chain = tuple(
        replace(method, keep_parameters=_joined(method.keep_parameters, tables.symbolic))
        if isinstance(method, ExactMethod)
        else method
        for method in options.chain
    )
    return reduce_by(tables.system, texts, replace(options, chain=chain), progress)


def _joined(given: str, symbolic: Sequence[str]) -> str:
    """What ``--keep-parameters`` names, and what the tables do."""
    if given == _ALL or not symbolic:
        return given
    return ",".join(dict.fromkeys([*(() if given == _NONE else names_in(given)), *symbolic]))


# -- both problems side by side ----------------------------------------------------------------------


def _agreement(original: Any, reduced: Any, seed: int, settings: PetabSettings) -> Reason:
    """How far the simulated observables of both problems are apart.

    Raises
    ------
    ContradictedError
        Code ``proof-contradicted`` if that is more than the integrator explains.
    """
    from sbmlump.simulators.petab import nominal_values, simulated_measurements

    worst, compared, why = 0.0, 0, ""
    complete = len(nominal_values(original)) == len(original.parameter_df)
    for parameters in [*([{}] if complete else []), *drawn_parameters(original, settings.draws, seed)]:
        try:
            first, second = (simulated_measurements(problem, parameters) for problem in (original, reduced))
        except LimitError as error:
            why = str(error)
            continue  # values at which the model does not integrate
        compared += 1
        worst = max(worst, _difference(first, second))
    if not compared:
        return Reason("petab-not-compared", f"the two problems were not compared: {why}")
    if not worst <= settings.tolerance:
        message = (
            f"observables of the reduced problem differ by {worst:.2g} from those of the original, although the "
            "reduction is proved; please report it"
        )
        raise ContradictedError(Reason("proof-contradicted", message))
    conditions = len(original.get_simulation_conditions_from_measurement_df())
    message = (
        f"simulated by libRoadRunner, the observables of both problems agree to {worst:.1e} in all conditions "
        f"({conditions}), at {compared} values of the parameters"
    )
    return Reason("petab-compared", message)


def _difference(first: Any, second: Any) -> float:
    """Largest difference of a simulated observable, relative to its largest value in its condition."""
    groups = [n for n in ("observableId", "preequilibrationConditionId", "simulationConditionId") if n in first]
    values = first[groups].assign(
        size=first["simulation"].abs(), apart=(first["simulation"] - second["simulation"]).abs()
    )
    if values["apart"].isna().any():
        return math.inf
    largest = values.groupby(groups, dropna=False)[["size", "apart"]].max()
    return float((largest["apart"] / largest["size"].where(largest["size"] > 0, 1.0)).max())


def drawn_parameters(problem: Any, draws: int, seed: int) -> list[dict[str, float]]:
    """Values of the estimated parameters, uniform within their bounds on their scales."""
    import petab.v1 as petab

    rng = np.random.default_rng(seed)
    table = problem.parameter_df
    table = table[table[petab.C.ESTIMATE] == 1]
    scales = table.get(petab.C.PARAMETER_SCALE)
    found = []
    for _ in range(draws):
        values: dict[str, float] = {}
        for name, row in table.iterrows():
            low, high = float(row[petab.C.LOWER_BOUND]), float(row[petab.C.UPPER_BOUND])
            part = rng.random()
            if scales is not None and scales[name] in (petab.C.LOG, petab.C.LOG10):
                values[str(name)] = float(math.exp(math.log(low) + part * (math.log(high) - math.log(low))))
            else:
                values[str(name)] = low + part * (high - low)
        found.append(values)
    return found


# -- writing -----------------------------------------------------------------------------------------


def _refuse_folder(folder: Path, path: Path, *, force: bool) -> None:
    """Refuse a folder that holds the input, or files that this program did not write."""
    if folder.is_dir() and path.parent.exists() and folder.samefile(path.parent):
        message = f"the output {folder} is the folder of the problem that is read; choose another one with -o"
        raise UsageError(Reason("output-is-input", message))
    for name in (_YAML, _MODEL):
        refuse_output(folder / name, path, force=force)
    tables = [name for name in _FILES.values() if (folder / name).exists()]
    if tables and not force and not (folder / _YAML).exists():
        message = f"{folder} holds {tables[0]}, which sbmlump did not write; choose another folder, or use --force"
        raise UsageError(Reason("output-exists", message))


def _write(problem: Any, folder: Path, sbml: bytes) -> None:
    """The files of a problem, each whole or not at all; the YAML file last."""
    make_folder(folder)
    files = {
        kind: name for kind, name in _FILES.items() if kind != "visualization" or problem.visualization_df is not None
    }
    with temporary_folder() as place:
        (place / _MODEL).write_bytes(with_mark(sbml, ".xml"))
        names = {f"{kind}_file": str(place / name) for kind, name in files.items()}
        problem.to_files(model_file=None, **names)
        import petab.v1 as petab

        petab.yaml.create_problem_yaml(
            sbml_files=_MODEL,
            condition_files=files["condition"],
            measurement_files=files["measurement"],
            parameter_file=files["parameter"],
            observable_files=files["observable"],
            visualization_files=files.get("visualization"),
            yaml_file=str(place / _YAML),
            relative_paths=False,
        )
        for name in (_MODEL, *files.values(), _YAML):
            data = (place / name).read_bytes()
            write_atomically(folder / name, with_mark(data, ".yaml") if name == _YAML else data)
