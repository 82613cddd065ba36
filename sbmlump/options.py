"""What an option is: what it takes, how it is refused, its help; declared once for the command line, Python, surveys.

A class of options is a frozen dataclass that derives from :class:`Options`; each field is annotated with its
:class:`Option`::

    Fast = Annotated[str, Option(ids("auto"), "fast states or reactions", metavar="ID,…|auto")]

    @dataclass(frozen=True, slots=True, kw_only=True)
    class QuasiSteadyState(Options):
        fast: Fast = "auto"

Values are checked, and brought into their one form, when an object is made; an option that is refused is refused with
the same code and sentence wherever it comes from.
"""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextvars import ContextVar
from dataclasses import MISSING, dataclass, fields
from numbers import Integral, Real
from os import PathLike
from types import MappingProxyType
from typing import Annotated, Any, Final, get_type_hints

from sbmlump.errors import Reason, UsageError, did_you_mean, near_matches

__all__ = [
    "FAST_REACTIONS",
    "FILE",
    "FLAG",
    "LEVEL",
    "OBSERVE",
    "POINTS",
    "POSITIVE",
    "SIMULATOR",
    "UNTIL",
    "Declared",
    "Kind",
    "Option",
    "Options",
    "Points",
    "Range",
    "Seed",
    "Until",
    "choice",
    "declared",
    "chosen_fast_reactions",
    "fast_reactions_as",
    "ids",
    "names_in",
    "number",
    "refuse_unknown",
    "texts",
    "whole_number",
]


@dataclass(frozen=True, slots=True)
class Range:
    """Where a number may lie, with its ends but for those that are open."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False
    whole: bool = False

    def says(self) -> str:
        """Which numbers these are, within a sentence."""
        noun = "a whole number" if self.whole else "a number"
        if self.high < math.inf:
            ends = (self.low, self.high) if self.whole else (f"{self.low:g}", f"{self.high:g}")
            form = "{} that is at least {} and less than {}" if self.high_open else "{} from {} to {}"
            return form.format(noun, *ends)
        if self.low_open:
            return "a positive number"
        return f"{noun} that is not negative" if self.low == 0 else noun

    def read(self, value: Any) -> float | int | None:
        """The number; ``None`` if it is none (NaN, a truth value), or out of range."""
        if isinstance(value, bool) or not isinstance(value, Integral if self.whole else Real):
            return None
        found = operator.index(value) if isinstance(value, Integral) and self.whole else float(value)
        below = found <= self.low if self.low_open else found < self.low
        above = found >= self.high if self.high_open else found > self.high
        return None if below or above or not math.isfinite(found) else found


@dataclass(frozen=True, slots=True)
class Kind:
    """What an option takes.

    Attributes
    ----------
    says : str
        That, within a sentence.
    read : callable
        Gives the value in its one form; ``None`` if it is something else.
    numbers : Range or None
    choices : tuple of str
        Names of which it takes one.
    several : bool
        Whether it may be given several times.
    """

    says: str
    read: Callable[[Any], Any]
    numbers: Range | None = None
    choices: tuple[str, ...] = ()
    several: bool = False


def number(low: float = -math.inf, high: float = math.inf, *, low_open: bool = False, high_open: bool = False) -> Kind:
    """A number in a range."""
    numbers = Range(low, high, low_open, high_open)
    return Kind(numbers.says(), numbers.read, numbers)


def whole_number(low: int, high: int) -> Kind:
    """A whole number in a range."""
    numbers = Range(low, high, whole=True)
    return Kind(numbers.says(), numbers.read, numbers)


def choice(*names: str) -> Kind:
    """One of several names."""
    return Kind(f"one of {', '.join(names)}", lambda value: value if value in names else None, choices=names)


def ids(*words: str) -> Kind:
    """Ids, as one text with commas or as a list, or one of some words; read as a text with commas."""

    def read(value: Any) -> str | None:
        listed = _texts(value)
        return None if listed is None else ",".join(listed)

    said = "".join(f"{word!r}, " for word in words)
    return Kind(f"{said}a text of ids with commas between them, or a list of ids", read)


def texts(says: str) -> Kind:
    """One text, or a list of them; read as a tuple."""
    return Kind(says, _texts, several=True)


def _texts(value: object) -> tuple[str, ...] | None:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Sequence | AbstractSet) and all(isinstance(item, str) for item in value):
        return tuple(value) if isinstance(value, Sequence) else tuple(sorted(value))
    return None


def names_in(text: str) -> tuple[str, ...]:
    """Names with commas between them."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    Attributes
    ----------
    kind : Kind
    help : str
        What it does; on the command line after the methods that take it.
    metavar : str or None
        What stands for its value in the help.
    flag : str or None
        Its name on the command line, if that is not the one in Python with hyphens.
    words : mapping or None
        Words of the command line for the values of a truth value.
    code : str
        Of the reason why a value is refused.
    needed : bool
        Whether it is refused, and not only said to have no effect, where no method takes it.
    default_of_method : bool
        Whether ``None`` stands for the default of the method.
    """

    kind: Kind
    help: str
    metavar: str | None = None
    flag: str | None = None
    words: Mapping[str, bool] | None = None
    code: str = "bad-option"
    needed: bool = False
    default_of_method: bool = False

    def flag_of(self, name: str) -> str:
        """How the option called ``name`` is written on the command line."""
        return self.flag or "--" + name.replace("_", "-")

    def wrong(self, name: str, value: object, *, optional: bool = False) -> Reason:
        """Why ``value`` is refused."""
        none = ", or None" if optional else ""
        meant = _of_percent(value) if self.kind.numbers is not None else ""
        return Reason(self.code, f"{name} ({self.flag_of(name)}) is {self.kind.says}{none}, not {value!r}{meant}")

    def read(self, name: str, value: object, *, optional: bool = False) -> Any:
        """The value of the option called ``name`` in its one form.

        Raises
        ------
        UsageError
            With the code of the option, and what is taken.
        """
        if value is None and (optional or self.default_of_method):
            return None
        taken = self.kind.read(value)
        if taken is None:
            raise UsageError(self.wrong(name, value, optional=optional))
        return taken


def _of_percent(value: object) -> str:
    """What ``5%`` is as a number."""
    if not isinstance(value, str) or not value.rstrip().endswith("%"):
        return ""
    try:
        return f"; write {float(value.rstrip()[:-1]) / 100:g}"
    except ValueError:
        return ""


@dataclass(frozen=True, slots=True)
class Declared:
    """A field of a class of options."""

    name: str
    option: Option
    default: Any

    @property
    def flag(self) -> str:
        """On the command line."""
        return self.option.flag_of(self.name)

    def read(self, value: object) -> Any:
        """The value in its one form.

        Raises
        ------
        UsageError
            See :meth:`Option.read`.
        """
        return self.option.read(self.name, value, optional=self.default is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Base of the classes whose fields are options: they are checked when an object is made."""

    def __post_init__(self) -> None:
        """Bring every option into its one form.

        Raises
        ------
        UsageError
            With what is taken, for each option that is refused.
        """
        wrong: list[Reason] = []
        for each in declared(type(self)).values():
            value = getattr(self, each.name)
            try:
                taken = each.read(value)
            except UsageError as error:
                wrong += error.reasons
            else:
                object.__setattr__(self, each.name, each.default if taken is None else taken)
        if wrong:
            raise UsageError(wrong)


def declared(options: type[Options]) -> Mapping[str, Declared]:
    """The options of a class, in order."""
    if options not in _DECLARED:
        hints = get_type_hints(options, include_extras=True)
        found: dict[str, Declared] = {}
        for each in fields(options):
            metadata = getattr(hints[each.name], "__metadata__", ())
            option = next((part for part in metadata if isinstance(part, Option)), None)
            if option is not None:
                assert each.default is not MISSING
                found[each.name] = Declared(each.name, option, each.default)
        _DECLARED[options] = MappingProxyType(found)
    return _DECLARED[options]


# reading the annotations of a class takes a millisecond, and each object that is made asks for them
_DECLARED: Final[dict[type[Options], Mapping[str, Declared]]] = {}


def refuse_unknown(names: Sequence[str], known: Collection[str]) -> None:
    """Refuse names of options that there are not.

    Raises
    ------
    UsageError
        With code ``unknown-option``, each of them.
    """
    wrong = [
        Reason("unknown-option", f"there is no option {name!r}; {_meant(name, known)}")
        for name in names
        if name not in known
    ]
    if wrong:
        raise UsageError(wrong)


def _meant(name: str, known: Collection[str]) -> str:
    return did_you_mean(near_matches(name, sorted(known), 2), f"known: {', '.join(sorted(known))}")


# -- options of more than one storey -----------------------------------------------------------------

FLAG: Final = Kind("True or False", lambda value: value if isinstance(value, bool) else None)
FILE: Final = Kind("the name of a file", lambda value: str(value) if isinstance(value, str | PathLike) else None)
POSITIVE: Final = number(0.0, low_open=True)

UNTIL: Final = Option(POSITIVE, "End time; chosen from the model if absent.", "T", code="bad-horizon")
# more points need more memory for one quantity than simulations give numbers worth having
POINTS: Final = Option(whole_number(2, 10_000_000), "Points of the comparison grid.", code="bad-grid")
OBSERVE: Final = Option(texts("an id, an expression such as 'A + 2*B', or a list of them"), "What to keep.", "EXPR")
SIMULATOR_NAMES: Final = MappingProxyType(
    {"roadrunner": "libRoadRunner", "copasi": "COPASI", "scipy": "SciPy", "own": "sbmlump's own integrator"}
)
"""What simulates, as an option takes it and as a page says it; the classes are in ``simulators/comparison``."""
SIMULATOR: Final = Option(
    choice(*SIMULATOR_NAMES),
    "What simulates; scipy and own integrate sbmlump's right-hand side.",
    code="unknown-simulator",
)
LEVEL: Final = Option(
    choice("3.2", "3.1", "2.4"),
    "Level and version of the SBML that is written; what an older one cannot say is refused.",
)

FAST_REACTIONS: Final = Declared(
    "fast_reactions",
    Option(
        choice("refuse", "equilibrium", "ordinary"),
        "Reactions declared fast (SBML up to Level 3 Version 1): refuse them, hold them at equilibrium as SBML says, "
        "or take them for ordinary ones as most simulators do.",
    ),
    "refuse",
)

Until = Annotated[float | None, UNTIL]
Points = Annotated[int, POINTS]
# up to what every generator of random numbers, and every column of a result, takes
Seed = Annotated[int, Option(whole_number(0, 2**63 - 1), "Of the random numbers.")]


# -- what holds for every reading of a command or a call ---------------------------------------------

_FAST_REACTIONS: Final[ContextVar[str]] = ContextVar("FAST_REACTIONS", default=str(FAST_REACTIONS.default))


def chosen_fast_reactions() -> str:
    """What becomes of reactions that are declared fast: ``refuse``, ``equilibrium`` or ``ordinary``."""
    return _FAST_REACTIONS.get()


@contextlib.contextmanager
def fast_reactions_as(chosen: str | None) -> Iterator[None]:
    """Within this context, reactions that are declared fast are read so; ``None`` changes nothing.

    Raises
    ------
    UsageError
        Code ``bad-option`` if it is none of the three.
    """
    if chosen is None:
        yield
        return
    token = _FAST_REACTIONS.set(FAST_REACTIONS.read(chosen))
    try:
        yield
    finally:
        _FAST_REACTIONS.reset(token)
