"""What an option is: what it takes, how it is refused, its help; declared once for the command line, Python, surveys.

A class of options is a frozen dataclass that derives from :class:`Options`; each field is annotated with its
:class:`Option`::

    Fast = Annotated[str, Option(Ids("auto"), "fast states or reactions", metavar="ID,…|auto")]

    @dataclass(frozen=True, slots=True, kw_only=True)
    class QuasiSteadyState(Options):
        fast: Fast = "auto"

Values are checked, and brought into their one form, when an object is made; an option that is refused is refused with
the same code and sentence wherever it comes from.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import MISSING, dataclass, fields
from numbers import Integral, Real
from os import PathLike
from typing import Annotated, Any, Final, Protocol, get_type_hints

from sbmlump.errors import Reason, UsageError

__all__ = [
    "FLAG",
    "OBSERVE",
    "POINTS",
    "POSITIVE",
    "SIMULATOR",
    "UNTIL",
    "Choice",
    "Choices",
    "Declared",
    "File",
    "Flag",
    "Ids",
    "Kind",
    "Number",
    "Option",
    "Options",
    "Points",
    "Seed",
    "Texts",
    "Until",
    "declared",
    "names_in",
    "refuse_unknown",
]


class Kind(Protocol):
    """What an option takes."""

    @property
    def says(self) -> str:
        """What it takes, within a sentence."""
        ...

    def read(self, value: Any) -> Any:
        """The value in its one form; ``None`` if it is something else."""
        ...


@dataclass(frozen=True, slots=True)
class Number:
    """A number in a range; a truth value is none, and neither is NaN.

    Attributes
    ----------
    low, high : float
    low_open, high_open : bool
        Whether the range is without its end.
    whole : bool
        Whole numbers only.
    """

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False
    whole: bool = False

    @property
    def says(self) -> str:
        """What it takes, within a sentence."""
        noun = "a whole number" if self.whole else "a number"
        if self.high < math.inf and self.high_open:
            return f"{noun} that is at least {self.low:g} and less than {self.high:g}"
        if self.high < math.inf:
            return (
                f"{noun} from {self.low} to {self.high}" if self.whole else f"{noun} from {self.low:g} to {self.high:g}"
            )
        if self.low_open:
            return "a positive number"
        if self.low > 0:
            return f"{noun} of at least {self.low:g}"
        return f"{noun} that is not negative" if self.low == 0 else noun

    def read(self, value: Any) -> float | int | None:
        """The number; ``None`` if it is none, or out of range."""
        if isinstance(value, bool) or not isinstance(value, Integral if self.whole else Real):
            return None
        number = operator.index(value) if isinstance(value, Integral) and self.whole else float(value)
        below = number <= self.low if self.low_open else number < self.low
        above = number >= self.high if self.high_open else number > self.high
        return None if below or above or not math.isfinite(number) else number


@dataclass(frozen=True, slots=True)
class Flag:
    """True or False."""

    says: str = "True or False"

    def read(self, value: Any) -> bool | None:
        """The truth value."""
        return value if isinstance(value, bool) else None


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several names."""

    choices: tuple[str, ...]

    @property
    def says(self) -> str:
        """What it takes, within a sentence."""
        return f"one of {', '.join(self.choices)}"

    def read(self, value: Any) -> str | None:
        """The name."""
        return value if isinstance(value, str) and value in self.choices else None


@dataclass(frozen=True, slots=True)
class Ids:
    """Ids, as one text with commas or as a list, or one of some words; read as a text with commas."""

    words: tuple[str, ...] = ()

    @property
    def says(self) -> str:
        """What it takes, within a sentence."""
        words = "".join(f"{word!r}, " for word in self.words)
        return f"{words}a text of ids with commas between them, or a list of ids"

    def read(self, value: Any) -> str | None:
        """The ids with commas between them."""
        listed = _texts(value)
        return None if listed is None else ",".join(listed)


@dataclass(frozen=True, slots=True)
class Choices:
    """Some of several names; read as a tuple."""

    choices: tuple[str, ...]

    @property
    def says(self) -> str:
        """What it takes, within a sentence."""
        return f"one of {', '.join(self.choices)}, or several"

    def read(self, value: Any) -> tuple[str, ...] | None:
        """The names."""
        names = _texts(value)
        return names if names is not None and set(names) <= set(self.choices) else None


@dataclass(frozen=True, slots=True)
class Texts:
    """One text, or a list of them; read as a tuple."""

    says: str

    def read(self, value: Any) -> tuple[str, ...] | None:
        """The texts."""
        return _texts(value)


@dataclass(frozen=True, slots=True)
class File:
    """The name of a file."""

    says: str = "the name of a file"

    def read(self, value: Any) -> str | None:
        """The name."""
        return str(value) if isinstance(value, str | PathLike) else None


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
        return Reason(self.code, f"{name} ({self.flag_of(name)}) is {self.kind.says}{none}, not {value!r}")

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
    hints = get_type_hints(options, include_extras=True)
    found: dict[str, Declared] = {}
    for each in fields(options):
        option = next(
            (part for part in getattr(hints[each.name], "__metadata__", ()) if isinstance(part, Option)), None
        )
        if option is not None:
            assert each.default is not MISSING
            found[each.name] = Declared(each.name, option, each.default)
    return found


def refuse_unknown(names: Sequence[str], known: Collection[str]) -> None:
    """Refuse names of options that there are not.

    Raises
    ------
    UsageError
        With code ``unknown-option``, each of them.
    """
    wrong = [
        Reason("unknown-option", f"there is no option {name!r}; known: {', '.join(sorted(known))}")
        for name in names
        if name not in known
    ]
    if wrong:
        raise UsageError(wrong)


# -- options of more than one storey -----------------------------------------------------------------

FLAG: Final = Flag()
POSITIVE: Final = Number(0.0, low_open=True)
UNTIL: Final = Option(POSITIVE, "End time; chosen from the model if absent.", "T", code="bad-horizon")
# more points need more memory for one quantity than simulations give numbers worth having
POINTS: Final = Option(Number(2, 10_000_000, whole=True), "Points of the comparison grid.", code="bad-grid")
OBSERVE: Final = Option(Texts("an id, an expression such as 'A + 2*B', or a list of them"), "What to keep.", "EXPR")

SIMULATOR: Final = Option(
    Choice(("roadrunner", "copasi", "scipy", "own")),
    "What simulates; scipy and own integrate sbmlump's right-hand side.",
    code="unknown-simulator",
)

Until = Annotated[float | None, UNTIL]
Points = Annotated[int, POINTS]
# up to what every generator of random numbers, and every column of a result, takes
Seed = Annotated[int, Option(Number(0, 2**63 - 1, whole=True), "Of the random numbers.")]
