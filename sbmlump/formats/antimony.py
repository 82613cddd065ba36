"""An SBML model as Antimony, for people to read and for Tellurium to run.

The text is made here from the SBML that sbmlump wrote, not by the antimony library: that drops parentheses, prints
six digits of some numbers, and renames ids without a word. The library (an extra) is needed all the same, to read the
text back before it gets a name.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from sbmlump.errors import InputError, Reason, UnsupportedModelError, extra_missing
from sbmlump.files import ModelFile
from sbmlump.model.names import numbered_ids
from sbmlump.model.text import (
    ATOM,
    OPEN,
    POWER,
    PRODUCT,
    SUM,
    Operand,
    Spelling,
    decimal_digits,
    joined,
    one_line,
    plain_decimal,
    printed,
    scientific,
)

if TYPE_CHECKING:
    from sbmlump.sbml.read.load import ReadResult

__all__ = [
    "AntimonyText",
    "read_antimony",
    "antimony_text",
    "sbml_of_antimony",
    "infix",
    "number_text",
    "RESERVED",
    "RESERVED_FOR_UNITS",
    "SPECIAL_UNITS",
    "is_reserved",
    "renamed",
]


# -- MathML of an SBML file as Antimony's infix notation --------------------------------------------

# Antimony hands formulas to libSBML's parser and writes numbers with 15 digits. So everything that binds is put in
# parentheses (no reader has to know whether a power or a sign goes first), and a number that needs more than 15 digits
# becomes a sum of two.


_RELATIONS: Final = {"lt": "<", "leq": "<=", "gt": ">", "geq": ">=", "eq": "==", "neq": "!="}
_LOGIC: Final = {"and": " && ", "or": " || "}
_CONSTANT_NAMES: Final = {name: name for name in ("true", "false", "pi", "exponentiale")} | {
    "infinity": "inf",
    "notanumber": "nan",
}
_FUNCTIONS: Final = frozenset(
    "abs arccos arccosh arccot arccoth arccsc arccsch arcsec arcsech arcsin arcsinh arctan arctanh ceiling cos cosh "
    "cot coth csc csch exp factorial floor ln max min not quotient rem sec sech sin sinh tan tanh xor".split()
)
_SYMBOLS: Final = {"time": "time", "avogadro": "avogadro"}


@dataclass(frozen=True, slots=True)
class PrintedDoubles:
    """What libSBML, by which Antimony reads and prints numbers, makes of them.

    Attributes
    ----------
    digits : int
        That it prints of a double.
    smallest : int
        Below 10 to minus this so many digits do not hold every double.
    integer : int
        The largest numerator or denominator of a rational number, which has 32 bits.
    """

    digits: int = 15
    smallest: int = 290
    integer: int = 2**31 - 1


_DOUBLES: Final = PrintedDoubles()


def infix(math: Element, name_of: Callable[[str], str]) -> str:
    """The expression in a ``math`` element.

    Parameters
    ----------
    math : Element
    name_of : callable str → str
        The id that an id has in the output.

    Raises
    ------
    UnsupportedModelError
        Code ``not-writable`` if there is something that Antimony has no words for.
    """
    return "".join(printed(Operand(math[0], OPEN), _MathmlSpeller(name_of).spell))


def number_text(value: Fraction) -> str:
    """A number that is read back exactly; negative ones and what is more than one number in parentheses."""
    if value < 0:
        return f"(-{number_text(-value)})"
    decimal = decimal_digits(value)
    if decimal is None:
        return f"({_quotient(number_text(Fraction(value.numerator)), number_text(Fraction(value.denominator)))})"
    digits, exponent = decimal
    if len(digits) + exponent <= -_DOUBLES.smallest:
        return f"({number_text(value * 10**_DOUBLES.smallest)}*1e-{_DOUBLES.smallest})"
    if len(digits) <= _DOUBLES.digits:
        return _shortest(digits, exponent)
    # the double nearest to a sum of two doubles need not be the one nearest to the number: take a cut where it is
    wanted = float(value)
    cuts = [cut for cut in range(_DOUBLES.digits, 0, -1) if len(digits) - cut <= _DOUBLES.digits]
    for cut in cuts:
        head = Fraction(int(digits[:cut])) * Fraction(10) ** (exponent + len(digits) - cut)
        if float(head) + float(value - head) == wanted:
            return f"({number_text(head)} + {number_text(value - head)})"
    cut = cuts[0] if cuts else _DOUBLES.digits
    head = Fraction(int(digits[:cut])) * Fraction(10) ** (exponent + len(digits) - cut)
    return f"({number_text(head)} + {number_text(value - head)})"


def _quotient(top: str, bottom: str) -> str:
    return f"{top}{_times_one(top, bottom)}/{bottom}"


def _times_one(top: str, bottom: str) -> str:
    """What stands before the mark of a quotient: between parentheses a quotient of integers is a number of libSBML's
    own, and 32 bits is all that its parts may have.
    """
    integers = top.isdigit() and bottom.isdigit()
    return "*1" if integers and max(int(top), int(bottom)) > _DOUBLES.integer else ""


def _shortest(digits: str, exponent: int) -> str:
    point = len(digits) + exponent
    return plain_decimal(digits, exponent) if -4 < point <= _DOUBLES.digits else scientific(digits, exponent)


class _MathmlSpeller:
    """Spells the elements of content MathML."""

    def __init__(self, name_of: Callable[[str], str]) -> None:
        self._name_of = name_of

    def spell(self, element: Element) -> Spelling[Element]:
        """One level of the expression."""
        tag = _tag(element)
        if tag == "cn":
            return ATOM, [number_text(_value(element))]
        if tag == "ci":
            return ATOM, [self._name_of((element.text or "").strip())]
        if tag == "csymbol":
            symbol = element.get("definitionURL", "").rpartition("/")[2]
            if symbol not in _SYMBOLS:
                raise _no_word(f"the symbol {symbol!r}")
            return ATOM, [_SYMBOLS[symbol]]
        if tag in _CONSTANT_NAMES:
            return ATOM, [_CONSTANT_NAMES[tag]]
        if tag in ("piece", "otherwise"):
            return OPEN, joined(element)
        if tag == "piecewise":
            return ATOM, ["piecewise(", *joined(element), ")"]
        if tag == "apply":
            return self._apply(_tag(element[0]), element[1:])
        raise _no_word(f"the element '{tag}'")

    def _apply(self, operator: str, args: list[Element]) -> Spelling[Element]:
        if operator == "minus" and len(args) == 1:
            operand = Operand(args[0], ATOM)
            arrow = next(printed(operand, self.spell)).startswith("o")  # "-o" is one in Antimony
            return SUM, ["- " if arrow else "-", operand]
        if operator == "minus":
            return SUM, [Operand(args[0], SUM), " - ", Operand(args[1], PRODUCT)]
        if operator == "plus":
            return SUM, _chain(args, " + ", SUM) or ["0"]
        if operator == "times":
            return PRODUCT, _chain(args, "*", PRODUCT) or ["1"]
        if operator == "divide":
            numbers = [number_text(_value(arg)) if _tag(arg) == "cn" else "" for arg in args]
            return PRODUCT, [Operand(args[0], PRODUCT), _times_one(*numbers) + "/", Operand(args[1], POWER)]
        if operator == "power":
            return POWER, joined(args, "^", ATOM)
        if operator == "root":
            degree = [Operand(args[0][0], ATOM)] if len(args) == 2 else ["2"]
            return POWER, [Operand(args[-1], ATOM), "^(1/", *degree, ")"]
        if operator in _RELATIONS and len(args) == 2:
            return OPEN, joined(args, f" {_RELATIONS[operator]} ", SUM)
        if operator in _LOGIC and len(args) > 1:
            return OPEN, joined(args, _LOGIC[operator], ATOM)
        if operator in _FUNCTIONS or operator in _LOGIC:
            return ATOM, [f"{operator}(", *joined(args), ")"]
        raise _no_word(f"'{operator}' of {len(args)} arguments")


def _chain(args: list[Element], mark: str, level: int) -> list[str | Operand[Element]]:
    """An operation that binds to the left: all but the first hold together more tightly than it does."""
    return [*joined(args[:1], mark, level), *(piece for arg in args[1:] for piece in (mark, Operand(arg, level + 1)))]


def _value(element: Element) -> Fraction:
    kind = element.get("type", "real")
    first = (element.text or "").strip()
    if kind in ("e-notation", "rational"):
        second = (element[0].tail or "").strip()
        if kind == "rational":
            return Fraction(int(first), int(second))
        return Fraction(first) * Fraction(10) ** int(second)
    return Fraction(first)


def _no_word(what: str) -> UnsupportedModelError:
    return UnsupportedModelError(Reason("not-writable", f"Antimony has no words for {what}; write SBML instead"))


# -- Words of Antimony that cannot be ids ----------------------------------------------------------


_KEYWORDS: Final = (
    "after at compartment const constraint delete DNA end event ext formula function gene geneProduct has import in is "
    "maximize minimize model module operator reaction species substanceOnly unit var"
)
_CONSTANT_WORDS: Final = (
    "avogadro exponentiale false False FALSE inf INF infinity nan NaN NAN notanumber pi time true True TRUE"
)
_FUNCTION_WORDS: Final = (
    "abs acos acosh acot acoth acsc acsch and arccos arccosh arccot arccoth arccsc arccsch arcsec arcsech arcsin "
    "arcsinh arctan arctanh asec asech asin asinh atan atanh bernoulli binomial cauchy ceil ceiling chisquare cos cosh "
    "cot coth csc csch delay divide eq equals exp exponential factorial floor gamma geq gt implies laplace leq ln log "
    "log10 lognormal lt max min minus neq normal not or piecewise plus poisson pow power quotient rateOf rayleigh rem "
    "root sec sech sin sinh sqr sqrt tan tanh times truncatedExponential truncatedGamma truncatedNormal "
    "truncatedPoisson uniform xor"
)
SPECIAL_UNITS: Final = {
    "substanceUnits": "substance",
    "timeUnits": "time_unit",
    "volumeUnits": "volume",
    "areaUnits": "area",
    "lengthUnits": "length",
    "extentUnits": "extent",
}
"""Attributes of a model, each with the unit that says the same in Antimony."""

_BASE_UNITS: Final = (
    "ampere becquerel candela celsius coulomb dimensionless farad gram gray henry hertz item joule katal kelvin "
    "kilogram liter litre lumen lux meter metre mole newton ohm pascal radian second siemens sievert steradian tesla "
    "volt watt weber degrees kinetics notes model_entity_is"
)
_OTHERS: Final = "__main default_compartment sbo SBO Sbo"  # `sbo:` begins a term, the others are the library's own

RESERVED: Final = frozenset(
    [
        *_KEYWORDS.split(),
        *_CONSTANT_WORDS.split(),
        *_FUNCTION_WORDS.split(),
        *_OTHERS.split(),
        *SPECIAL_UNITS.values(),
    ]
)
"""What cannot be the id of a quantity, a reaction, an event or the model."""

RESERVED_FOR_UNITS: Final = frozenset(word.lower() for word in (*RESERVED, *_BASE_UNITS.split())) - frozenset(
    SPECIAL_UNITS.values()
)
"""What cannot be the id of a unit, in whatever case."""


_WITHIN: Final = re.compile("truncated(?=Exponential|Gamma|Normal|Poisson)")
"""The library replaces these words within ids, too."""


def is_reserved(name: str) -> bool:
    """Whether ``name`` cannot be the id of a quantity, a reaction, an event or the model."""
    return name in RESERVED or _WITHIN.search(name) is not None


def renamed(ids: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
    """A new id for each of ``ids`` that is reserved (with an underscore, or a number); none is used twice.

    Parameters
    ----------
    ids : iterable of str
        Ids that may be reserved.
    taken : iterable of str
        All ids of the model.
    """
    used = set(taken)
    table: dict[str, str] = {}
    for name in ids:
        if not is_reserved(name) or name in table:
            continue
        base = _WITHIN.sub("truncated_", name)
        wanted = f"{name}_" if base == name else base
        candidates = itertools.chain([wanted] if wanted not in used else [], numbered_ids(base, used, 2))
        new = next(candidate for candidate in candidates if not is_reserved(candidate))
        used.add(new)
        table[name] = new
    return table


# -- An SBML model as Antimony ---------------------------------------------------------------------


_QUALIFIERS: Final = {
    ("biology", "is"): "identity",
    ("biology", "isDescribedBy"): "description",
    ("model", "is"): "model_source",
    ("model", "isDescribedBy"): "publication",
    ("model", "isDerivedFrom"): "origin",
    ("model", "isInstanceOf"): "class",
    ("model", "hasInstance"): "instance",
} | {
    ("biology", word): word
    for word in (
        "hasPart isPartOf isVersionOf hasVersion isHomologTo isEncodedBy encodes occursIn hasProperty isPropertyOf "
        "hasTaxon"
    ).split()
}
_RDF: Final = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_QUALIFIER: Final = re.compile(r"\{http://biomodels\.net/(biology|model)-qualifiers/\}(\w+)")


@dataclass(frozen=True, slots=True)
class AntimonyText:
    """A model as Antimony.

    Attributes
    ----------
    text : str
    renamed : mapping of str to str
        New ids of quantities, reactions and events whose id is a word of Antimony.
    left_out : tuple of str
        Events that change nothing, which Antimony cannot say.
    reasons : tuple of Reason
        What is said of this: codes ``id-renamed`` (one an id) and ``not-kept`` (one a kind).
    """

    text: str
    renamed: Mapping[str, str]
    left_out: tuple[str, ...]
    reasons: tuple[Reason, ...]


def antimony_text(sbml: bytes) -> AntimonyText:
    """The model as Antimony.

    Parameters
    ----------
    sbml : bytes
        SBML as sbmlump writes it: Level 3 Version 2, no function definitions.

    Raises
    ------
    UnsupportedModelError
        Code ``not-writable`` if Antimony cannot hold the model; every reason at once.
    """
    # notes and an annotation of the whole document may stand before the model
    return _AntimonyWriter(next(one for one in _tree(sbml) if _tag(one) == "model")).run()


def sbml_of_antimony(text: str) -> bytes:
    """What the antimony library makes of a text.

    Raises
    ------
    UnsupportedModelError
        Code ``extra-missing`` if antimony is not installed.
    SbmlumpError
        Code ``not-writable`` if it does not read the text.
    """
    try:
        import antimony
    except ImportError as error:
        raise UnsupportedModelError(extra_missing("antimony is not installed", "antimony")) from error
    antimony.clearPreviousLoads()
    try:
        if antimony.loadAntimonyString(text) < 0:
            cause = " ".join(str(antimony.getLastError()).split())[:400] or "no cause given"
            raise UnsupportedModelError(Reason("not-writable", f"Antimony does not read the model: {cause}"))
        return str(antimony.getSBMLString(antimony.getMainModuleName())).encode()
    finally:
        antimony.clearPreviousLoads()


_IMPORT: Final = re.compile(r'^\s*import\s+"', re.MULTILINE)


def read_antimony(file: ModelFile) -> ReadResult:
    """What came of reading an Antimony text, through the SBML that the antimony library makes of it.

    Raises
    ------
    InputError
        Code ``not-antimony`` if the library does not read it, ``antimony-import`` if it names other files.
    UnsupportedModelError
        Code ``extra-missing`` if antimony is not installed.
    """
    from sbmlump.sbml.read.load import read_sbml

    text = file.data.decode("utf-8", "replace")
    if _IMPORT.search(text):
        message = f"{file.name} imports other files, which are not read; put what it needs into one file"
        raise InputError(Reason("antimony-import", message))
    try:
        data = sbml_of_antimony(text)
    except UnsupportedModelError as error:
        if error.reasons[0].code == "extra-missing":
            raise
        raise InputError(Reason("not-antimony", f"{file.name}: {error.reasons[0].message}")) from error
    result = read_sbml(replace(file, data=data, suffix=".xml"))
    if result.system is None:
        return result
    origin = replace(result.system.origin, format="antimony", sha256=hashlib.sha256(file.data).hexdigest())
    return replace(result, system=replace(result.system, origin=origin))


class _AntimonyWriter:
    """Translates one ``model`` element."""

    def __init__(self, model: Element) -> None:
        self.model = model
        self.space = model.tag.rpartition("}")[0] + "}"
        self.lists = {_tag(child): list(child) for child in model if _tag(child).startswith("listOf")}
        self.lost: dict[str, list[str]] = {}
        self.problems: list[Reason] = []
        self.left_out: list[str] = []
        self.more: list[str] = []  # declarations of stoichiometries that have no id in the file
        ids = [element.get("id", "") for element in self._everything()]
        self.ids = [name for name in ids if name]
        own = model.get("id") or "model"
        self.names = renamed(self.ids, [*self.ids, own])
        self.taken = {*(self.names.get(name, name) for name in self.ids)}
        self.own = renamed([own], self.taken).get(own, own)
        while self.own in self.taken:
            self.own += "_"
        self.taken.add(self.own)
        self.units = self._unit_names()
        self.ruled = {element.get("variable") for element in self._all("Rules") if _tag(element) == "assignmentRule"}
        self.initial = {element.get("symbol", ""): self._math(element) for element in self._all("InitialAssignments")}

    def run(self) -> AntimonyText:
        """The whole text."""
        blocks = (
            ("Units", self._unit_lines()),
            ("Compartments", self._compartments()),
            ("Species", self._species()),
            ("Parameters", self._parameters()),
            ("Rules", self._rules()),
            ("Reactions", self._reactions()),
            ("Events", self._events()),
            ("Constraints", self._constraints()),
            ("Names and annotations", self._descriptions()),
        )
        lines = [f"model *{self.own}()"]
        for title, made in blocks:
            content = [*made, *self.more]
            self.more.clear()
            if content:
                lines += ["", f"  // {title}", *(f"  {line}" for line in content)]
        lines += ["", "end"]
        if self.model.get("name"):
            lines += ["", f"{self.own} is {self._string(self.model.get('name', ''), 'the model')}"]
        for tag in self.lists.keys() - _WRITTEN:
            self._lose(tag.removeprefix("listOf"), "")
        if self.problems:
            raise UnsupportedModelError(self.problems)
        return AntimonyText("\n".join(lines) + "\n", self.names, tuple(self.left_out), tuple(self._reasons()))

    # -- names ---------------------------------------------------------------------------------------

    def _all(self, name: str) -> list[Element]:
        return self.lists.get(f"listOf{name}", [])

    def _everything(self) -> Iterator[Element]:
        """Every element whose id is one among the quantities."""
        for name in ("Compartments", "Species", "Parameters", "Reactions", "Events"):
            yield from self._all(name)
        for reaction in self._all("Reactions"):
            for name in ("Reactants", "Products"):
                yield from reaction.findall(f"{self.space}listOf{name}/{self.space}speciesReference")

    def _name(self, name: str) -> str:
        return self.names.get(name, name)

    def _own_name(self, element: Element) -> str:
        return self._name(element.get("id", ""))

    def _free(self, name: str) -> str:
        new = next(numbered_ids(name, self.taken))
        self.taken.add(new)
        return new

    def _unit_names(self) -> dict[str, str]:
        """What each unit is called: those of the model as Antimony wants it, others by their own id if that is free."""
        names: dict[str, str] = {}
        defined = [element.get("id", "") for element in self._all("UnitDefinitions")]
        for attribute, special in SPECIAL_UNITS.items():
            name = self.model.get(attribute)
            if name in defined and name in (special, special.removesuffix("_unit")) and special not in names.values():
                names[name] = special
        for name in defined:
            if name not in names:
                bad = name.lower() in RESERVED_FOR_UNITS or is_reserved(name) or name in self.taken
                names[name] = self._free(name) if bad else name
        self.taken.update(names.values())
        return names

    def _math(self, parent: Element) -> str:
        math = parent.find("{http://www.w3.org/1998/Math/MathML}math")
        assert math is not None
        try:
            return infix(math, self._name)
        except UnsupportedModelError as error:
            name = parent.get("variable") or parent.get("symbol") or parent.get("id") or _tag(parent)
            self.problems += [Reason(reason.code, f"{name}: {reason.message}", name) for reason in error.reasons]
            return "0"

    # -- units ---------------------------------------------------------------------------------------

    def _unit_lines(self) -> Iterator[str]:
        defined = {element.get("id", ""): element for element in self._all("UnitDefinitions")}
        for name, definition in defined.items():
            yield f"unit {self.units[name]} = {_unit_text(definition)};"
        for attribute, special in SPECIAL_UNITS.items():
            unit = self.model.get(attribute)
            if unit is not None and self.units.get(unit) != special:
                yield f"unit {special} = {self.units.get(unit, unit)};"

    def _unit_of(self, element: Element, attribute: str = "units") -> Iterator[str]:
        unit = element.get(attribute)
        if unit is not None:
            yield f"{self._own_name(element)} has {self.units.get(unit, unit)};"

    # -- quantities ----------------------------------------------------------------------------------

    def _start(self, element: Element, attribute: str, over: str | None = None) -> Iterator[str]:
        """``x = value``; ``over`` is the compartment of a species whose amount is given."""
        name = element.get("id", "")
        if name in self.initial:
            yield f"{self._name(name)} = {self.initial[name]};"
            return
        text = element.get(attribute)
        if text is not None:
            size = "" if over is None else f"/{self._name(over)}"
            yield f"{self._name(name)} = {_attribute(text)}{size};"

    def _compartments(self) -> Iterator[str]:
        for element in self._all("Compartments"):
            kind = "var" if element.get("constant") == "false" else "const"
            yield f"{kind} compartment {self._own_name(element)};"
            yield from self._start(element, "size")
            yield from self._unit_of(element)
            if element.get("spatialDimensions", "3") != "3":
                self._lose("the dimensions of compartments", element.get("id", ""))

    def _species(self) -> Iterator[str]:
        for element in self._all("Species"):
            amount = element.get("hasOnlySubstanceUnits") == "true"
            kind = "substanceOnly species" if amount else "species"
            fixed = "$" if element.get("boundaryCondition") == "true" or element.get("constant") == "true" else ""
            home = element.get("compartment", "")
            yield f"{kind} {fixed}{self._own_name(element)} in {self._name(home)};"
            if element.get("initialAmount") is not None:
                yield from self._start(element, "initialAmount", None if amount else home)
            else:
                yield from self._concentration(element, home, amount)
            yield from self._unit_of(element, "substanceUnits")
            if element.get("conversionFactor") or self.model.get("conversionFactor"):
                self._refuse(element.get("id", ""), "a conversion factor")

    def _concentration(self, element: Element, home: str, amount: bool) -> Iterator[str]:
        text = element.get("initialConcentration")
        if text is not None and amount and element.get("id") not in self.initial:
            yield f"{self._own_name(element)} = {_attribute(text)}*{self._name(home)};"
        else:
            yield from self._start(element, "initialConcentration")

    def _parameters(self) -> Iterator[str]:
        for element in self._all("Parameters"):
            yield f"{'var' if element.get('constant') == 'false' else 'const'} {self._own_name(element)};"
            yield from self._start(element, "value")
            yield from self._unit_of(element)

    def _rules(self) -> Iterator[str]:
        for element in self._all("Rules"):
            name = self._name(element.get("variable", ""))
            if _tag(element) == "assignmentRule":
                yield f"{name} := {self._math(element)};"
            elif _tag(element) == "rateRule":
                yield f"{name}' = {self._math(element)};"
            else:
                self._refuse("", "an algebraic rule")

    # -- reactions and events ------------------------------------------------------------------------

    def _reactions(self) -> Iterator[str]:
        for element in self._all("Reactions"):
            sides = [self._side(element, name) for name in ("Reactants", "Products")]
            if not any(sides):
                self._refuse(element.get("id", ""), "a reaction that changes no species")
            arrow = "=>" if element.get("reversible") == "false" else "->"
            law = element.find(f"{self.space}kineticLaw")
            rate = "" if law is None else self._math(law)
            home = element.get("compartment")
            where = f" in {self._name(home)}" if home is not None else ""
            yield f"{self._own_name(element)}: {' '.join(filter(None, (sides[0], arrow, sides[1])))}; {rate}{where};"
            if law is not None:
                for child in law:
                    if _tag(child) != "math":
                        self._lose(f"{_tag(child)} of kinetic laws", element.get("id", ""))

    def _side(self, reaction: Element, name: str) -> str:
        parts = []
        for element in reaction.findall(f"{self.space}listOf{name}/{self.space}speciesReference"):
            text = element.get("stoichiometry")
            own = element.get("id")
            species = self._name(element.get("species", ""))
            if own is not None:
                parts.append(f"{self._name(own)} {species}")
                self._declare(self._name(own), own, text, varies=element.get("constant") == "false")
            elif text is None or Fraction(text) == 1:
                parts.append(species)
            elif _is_plain(number := _attribute(text)):
                parts.append(f"{number} {species}")
            else:
                new = self._free(f"stoichiometry_{reaction.get('id')}")
                parts.append(f"{new} {species}")
                self._declare(new, new, text, varies=False)
        return " + ".join(parts)

    def _declare(self, name: str, id: str, text: str | None, *, varies: bool) -> None:
        """A stoichiometry with an id."""
        if id in self.initial:
            self.more.append(f"{name} = {self.initial[id]};")
        elif text is not None and id not in self.ruled:
            self.more.append(f"{name} = {_attribute(text)};")
        self.more.append(f"{'var' if varies else 'const'} {name};")

    def _events(self) -> Iterator[str]:
        for element in self._all("Events"):
            parts = {_tag(child): child for child in element}
            changes = [
                f"{self._name(child.get('variable', ''))} = {self._math(child)}"
                for child in parts.get("listOfEventAssignments", ())
            ]
            if not changes:
                self.left_out.append(element.get("id", ""))
                self._lose("events that change nothing", element.get("id", ""))
                continue
            label = f"{self._own_name(element)}: " if element.get("id") else ""
            delay = f"{self._math(parts['delay'])} after " if "delay" in parts else ""
            trigger = parts["trigger"]
            more = f", priority = {self._math(parts['priority'])}" if "priority" in parts else ""
            for attribute, word, owner in (
                ("initialValue", "t0", trigger),
                ("persistent", "persistent", trigger),
                ("useValuesFromTriggerTime", "fromTrigger", element),
            ):
                more += f", {word}={owner.get(attribute, 'true')}"
            yield f"{label}at {delay}({self._math(trigger)}){more}: {', '.join(changes)};"

    def _constraints(self) -> Iterator[str]:
        for element in self._all("Constraints"):
            yield f"constraint: {self._math(element)};"
            if any(_tag(child) == "message" for child in element):
                self._lose("messages of constraints", "")

    # -- descriptions --------------------------------------------------------------------------------

    def _descriptions(self) -> Iterator[str]:
        for element in self._everything():
            name = element.get("id", "")
            if not name or name in self.left_out:
                continue
            own = self._name(name)
            if element.get("name"):
                yield f"{own} is {self._string(element.get('name', ''), name)};"
            term = element.get("sboTerm")
            if term:
                yield f"{own}.sboTerm = {int(term.removeprefix('SBO:'))};"
            yield from self._terms(element, own, name)
        yield from self._terms(self.model, "model", "the model")
        if self.model.get("sboTerm"):
            self._lose("the SBO term of the model", "")

    def _terms(self, element: Element, own: str, name: str) -> Iterator[str]:
        """Terms of the annotation, as far as they are links with a qualifier."""
        for child in element:
            tag = _tag(child)
            if tag == "notes":
                self._lose("notes", name)
            if tag != "annotation":
                continue
            whole = True
            if any(part.tag != f"{_RDF}RDF" for part in child):
                whole = False
            about = f"#{element.get('metaid')}"
            for description in child.iter(f"{_RDF}Description"):
                if description.get(f"{_RDF}about") != about:
                    whole = False
                for statement in description:
                    match = _QUALIFIER.fullmatch(statement.tag)
                    qualifier = _QUALIFIERS.get((match[1], match[2])) if match else None
                    links = [item.get(f"{_RDF}resource", "") for item in statement.iter(f"{_RDF}li")]
                    if qualifier is None or not all(links):
                        whole = False
                    elif links:
                        yield f"{own} {qualifier} {', '.join(self._string(link, name) for link in links)};"
            if not whole:
                self._lose("annotations that are no links with a qualifier", name)

    def _string(self, text: str, owner: str) -> str:
        plain = one_line(text).replace('"', "'").replace("\\", "/")
        if plain != text:
            self._lose("quotation marks, backslashes, line ends and control characters in names", owner)
        return f'"{plain}"'

    # -- what is said --------------------------------------------------------------------------------

    def _lose(self, kind: str, name: str) -> None:
        self.lost.setdefault(kind, []).append(name)

    def _refuse(self, name: str, what: str) -> None:
        message = f"{name or 'the model'}: Antimony cannot say {what}; write SBML instead"
        self.problems.append(Reason("not-writable", message, name or None))

    def _reasons(self, most: int = 5) -> Iterator[Reason]:
        for old, new in self.names.items():
            yield Reason("id-renamed", f"{old} is a word of Antimony; there it is called {new}", old)
        for old, new in self.units.items():
            if old != new and new not in SPECIAL_UNITS.values():
                yield Reason("id-renamed", f"the unit {old} is called {new} in Antimony", old)
        for kind, names in self.lost.items():
            shown = ", ".join([name for name in names if name][:most])
            more = f", and {len(names) - most} more" if len(names) > most and shown else ""
            yield Reason("not-kept", f"not in the Antimony text: {kind}{f' ({shown}{more})' if shown else ''}")


_WRITTEN: Final = frozenset(
    f"listOf{name}"
    for name in (
        "UnitDefinitions Compartments Species Parameters InitialAssignments Rules Reactions Events Constraints"
    ).split()
)


def _tree(data: bytes) -> Element:
    """The document, which sbmlump itself has written, as elements."""
    builder = TreeBuilder()
    parser = expat.ParserCreate(namespace_separator="}")

    def full(name: str) -> str:
        return "{" + name if "}" in name else name

    def start(name: str, attributes: dict[str, str]) -> None:
        builder.start(full(name), {full(key): value for key, value in attributes.items()})

    def end(name: str) -> None:
        builder.end(full(name))

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.Parse(data, True)
    return builder.close()


def _tag(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _attribute(text: str) -> str:
    """A number of an attribute."""
    special = {"INF": "inf", "-INF": "(-inf)", "NaN": "nan"}
    return special[text] if text in special else number_text(Fraction(text))


def _is_plain(number: str) -> bool:
    """Whether a number can stand before a species in a reaction."""
    return number[0] != "("


def _unit_text(definition: Element) -> str:
    """A product such as ``0.001 mole * litre^-1``."""
    parts: list[str] = []
    for unit in definition.iter():
        if _tag(unit) != "unit":
            continue
        factor = float(unit.get("multiplier", "1")) * 10.0 ** int(unit.get("scale", "0"))
        kind = unit.get("kind", "")
        text = kind if factor == 1 and kind != "avogadro" else f"{factor:.15g} {kind}"
        exponent = repr(float(unit.get("exponent", "1"))).removesuffix(".0")
        parts.append(text if exponent == "1" else f"({text})^{exponent}" if text != kind else f"{text}^{exponent}")
    return " * ".join(parts) or "dimensionless"
