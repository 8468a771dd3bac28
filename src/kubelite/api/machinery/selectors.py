"""Label selectors: parsed from a query string or a LabelSelector, and matched against labels."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NoReturn

from msgspec import Struct

from kubelite.api.errors import BadRequest, Cause
from kubelite.api.kinds.meta import LabelSelector
from kubelite.api.machinery import causes, names
from kubelite.api.machinery.label_matching import matcher_of
from kubelite.api.machinery.numbers import integer
from kubelite.limits import SELECTOR_REQUIREMENTS

EQUALS, DOUBLE_EQUALS, NOT_EQUALS = "=", "==", "!="
EXACT = (EQUALS, DOUBLE_EQUALS)
IN, NOT_IN, EXISTS, DOES_NOT_EXIST = "in", "notin", "exists", "!"
GREATER, LESS = "gt", "lt"
OPERATORS = (IN, NOT_IN, EQUALS, DOUBLE_EQUALS, NOT_EQUALS, GREATER, LESS, EXISTS, DOES_NOT_EXIST)

_SYMBOLS = "=!(),><"
_BLANKS = " \t\r\n"
_BINARY = "=, !=, ==, in, notin, >, <"
_OF_STRUCT = {"In": IN, "NotIn": NOT_IN, "Exists": EXISTS, "DoesNotExist": DOES_NOT_EXIST}

Labels = Mapping[str, str]


class Requirement(Struct, frozen=True):
    """One condition on one label."""

    key: str
    operator: str
    values: tuple[str, ...] = ()  # sorted

    def matches(self, labels: Labels) -> bool:
        """Return whether the labels meet the condition; an absent label meets negations."""
        value = labels.get(self.key)
        operator = self.operator
        if operator in (NOT_IN, NOT_EQUALS):
            return value is None or value not in self.values
        if operator == DOES_NOT_EXIST:
            return value is None
        if value is None:
            return False
        if operator == EXISTS:
            return True
        if operator in (GREATER, LESS):
            return self._compares(value)
        return value in self.values

    def _compares(self, value: str) -> bool:
        number, bound = integer(value), integer(self.values[0])
        if number is None or bound is None:
            return False
        return number > bound if self.operator == GREATER else number < bound

    def __str__(self) -> str:
        if self.operator == DOES_NOT_EXIST:
            return "!" + self.key
        if self.operator == EXISTS:
            return self.key
        if self.operator in (IN, NOT_IN):
            return f"{self.key} {self.operator} ({','.join(self.values)})"
        sign = {GREATER: ">", LESS: "<"}.get(self.operator, self.operator)
        return f"{self.key}{sign}{','.join(self.values)}"

    def causes(self) -> list[Cause]:
        """Return what is invalid in key, operator and values."""
        found = []
        if wrong := names.qualified_name(self.key):
            found.append(causes.invalid("key", self.key, "; ".join(wrong)))
        found.extend(self._arity())
        for index, value in enumerate(self.values):
            if wrong := names.label_value(value):
                path = f"values[{index}][{self.key}]"
                found.append(causes.invalid(path, value, "; ".join(wrong)))
        return found

    def _arity(self) -> list[Cause]:
        values, operator = list(self.values), self.operator
        if operator in (IN, NOT_IN):
            wrong = "" if values else "for 'in', 'notin' operators, values set can't be empty"
        elif operator in (EQUALS, DOUBLE_EQUALS, NOT_EQUALS):
            wrong = (
                "" if len(values) == 1 else "exact-match compatibility requires one single value"
            )
        elif operator in (EXISTS, DOES_NOT_EXIST):
            wrong = "values set must be empty for exists and does not exist" if values else ""
        elif operator in (GREATER, LESS):
            return self._bound()
        else:
            return [causes.unsupported("operator", operator, sorted(OPERATORS))]
        return [causes.invalid("values", values, wrong)] if wrong else []

    def _bound(self) -> list[Cause]:
        if len(self.values) != 1:
            wrong = "for 'Gt', 'Lt' operators, exactly one value is required"
            return [causes.invalid("values", list(self.values), wrong)]
        value = self.values[0]
        if integer(value) is not None:
            return []
        wrong = "for 'Gt', 'Lt' operators, the value must be an integer"
        return [causes.invalid("values[0]", value, wrong)]


class Selector:
    """A conjunction of requirements; an empty one matches everything."""

    __slots__ = ("_meets", "nothing", "requirements")

    def __init__(self, requirements: Sequence[Requirement] = (), *, nothing: bool = False) -> None:
        self.requirements = tuple(sorted(requirements, key=lambda each: each.key))
        self.nothing = nothing
        self._meets = matcher_of(self.requirements)

    @property
    def is_everything(self) -> bool:
        """Return whether the selector has no requirements."""
        return not (self.requirements or self.nothing)

    def matches(self, labels: Labels | None) -> bool:
        """Return whether the labels meet every requirement."""
        return not self.nothing and self._meets(labels or {})

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))

    def __repr__(self) -> str:
        return f"Selector({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Selector)
            and self.requirements == other.requirements
            and self.nothing == other.nothing
        )

    def __hash__(self) -> int:
        return hash((self.requirements, self.nothing))


EVERYTHING = Selector()
NOTHING = Selector(nothing=True)


def parse_selector(text: str) -> Selector:
    """Parse a labelSelector parameter such as ``app=web,tier in (a,b),!old``.

    Raises:
        BadRequest: The selector is malformed; the message is Kubernetes'.
    """
    if not text:
        return EVERYTHING
    return _parse_known(text) if len(text) <= 512 else _Parser(text).selector()


def requires_label(text: str, key: str, value: str) -> bool:
    """Return whether a labelSelector parameter selects only objects whose label is `value`; no if it is malformed."""
    try:
        requirements = parse_selector(text).requirements
    except BadRequest:
        return False
    return any(
        one.key == key and one.operator in (IN, *EXACT) and one.values == (value,)
        for one in requirements
    )


@lru_cache(maxsize=1024)
def _parse_known(text: str) -> Selector:
    return _Parser(text).selector()


def labels_selector(labels: Labels | None) -> Selector:
    """Return the selector of all these labels, as in a Service; no labels match everything."""
    return Selector([Requirement(key, EQUALS, (value,)) for key, value in (labels or {}).items()])


def label_selector(
    selector: LabelSelector | Mapping[str, Any] | None, *, is_stored: bool = False
) -> Selector:
    """Convert a LabelSelector, typed or as JSON, to a Selector: None matches nothing, an empty one everything.

    `is_stored`: keys and values were validated when the object was written, so they are not validated again, which
    takes ten times as long as the rest.

    Raises:
        BadRequest: An operator, key or value is invalid.
    """
    if selector is None:
        return NOTHING
    if isinstance(selector, LabelSelector):
        labels: Labels = selector.matchLabels
        expressions: list[tuple[str, str, Sequence[str]]] = [
            (each.key, each.operator, each.values) for each in selector.matchExpressions
        ]
    else:
        labels = selector.get("matchLabels") or {}
        expressions = [
            (each.get("key", ""), each.get("operator", ""), each.get("values") or ())
            for each in selector.get("matchExpressions") or ()
        ]
    requirements = [Requirement(key, EQUALS, (labels[key],)) for key in labels]
    for key, operator, values in expressions:
        if operator not in _OF_STRUCT:
            raise BadRequest(f"{causes.quoted(operator)} is not a valid label selector operator")
        requirements.append(Requirement(key, _OF_STRUCT[operator], tuple(sorted(values))))
    if not is_stored:
        for requirement in requirements:
            _checked(requirement)
    return Selector(requirements)


def _checked(requirement: Requirement) -> Requirement:
    found = requirement.causes()
    if found:
        lines = [f"{cause.path}: {cause.message}" for cause in found]
        raise BadRequest(lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]")
    return requirement


def _words(text: str) -> list[str]:
    """Split a selector into identifiers, keywords and symbols; the last word is ""."""
    words, start, length = [], 0, len(text)
    while start < length:
        if text[start] in _BLANKS:
            start += 1
            continue
        end = start + 1
        if text[start] in "(),<>":
            pass
        elif text[start] in "=!":
            if text[end : end + 1] == "=":
                end += 1
        else:
            while end < length and text[end] not in _SYMBOLS and text[end] not in _BLANKS:
                end += 1
        words.append(text[start:end])
        start = end
    words.append("")
    return words


def _is_identifier(word: str) -> bool:
    return bool(word) and word[0] not in _SYMBOLS


class _Parser:
    """A recursive-descent parser of selectors; keywords may also be values."""

    def __init__(self, text: str) -> None:
        self._words = _words(text)
        self._position = 0

    def selector(self) -> Selector:
        requirements: list[Requirement] = []
        while (word := self._peek()) != "":
            if not _is_identifier(word) and word != "!":
                self._fail(f"found '{word}', expected: !, identifier, or 'end of string'")
            if len(requirements) >= SELECTOR_REQUIREMENTS.value:
                SELECTOR_REQUIREMENTS.reached()
                self._fail(f"more than {SELECTOR_REQUIREMENTS.value} requirements")
            try:
                requirements.append(self._requirement())
            except BadRequest as error:
                raise BadRequest(f"unable to parse requirement: {error.message}") from None
            follower = self._next()
            if follower == "":
                break
            if follower != ",":
                self._fail(f"found '{follower}', expected: ',' or 'end of string'")
            if not _is_identifier(self._peek()) and self._peek() != "!":
                self._fail(f"found '{self._peek()}', expected: identifier after ','")
        return Selector(requirements)

    def _requirement(self) -> Requirement:
        key, negated = self._next(), False
        if key == "!":
            key, negated = self._next(), True
        if not _is_identifier(key):
            self._fail(f"found '{key}', expected: identifier")
        if wrong := names.qualified_name(key):
            self._fail(f"<nil>: Invalid value: {causes.quoted(key)}: {'; '.join(wrong)}")
        if negated:
            return _checked(Requirement(key, DOES_NOT_EXIST))
        if self._peek() in ("", ","):
            return _checked(Requirement(key, EXISTS))
        operator = self._next()
        if operator in (IN, NOT_IN):
            return _checked(Requirement(key, operator, self._values()))
        if operator not in (EQUALS, DOUBLE_EQUALS, NOT_EQUALS, ">", "<"):
            self._fail(f"found '{operator}', expected: {_BINARY}")
        operator = {">": GREATER, "<": LESS}.get(operator, operator)
        return _checked(Requirement(key, operator, (self._exact_value(),)))

    def _exact_value(self) -> str:
        word = self._peek()
        if word in ("", ","):
            return ""
        self._position += 1
        if not _is_identifier(word):
            self._fail(f"found '{word}', expected: identifier")
        return word

    def _values(self) -> tuple[str, ...]:
        word = self._next()
        if word != "(":
            self._fail(f"found '{word}' expected: '('")
        if not _is_identifier(self._peek()) and self._peek() not in (",", ")"):
            self._fail(f"found '{self._peek()}', expected: ',', ')' or identifier")
        values, current = set(), ""
        while (word := self._next()) != ")":
            if word == ",":
                values.add(current)
                current = ""
            elif not _is_identifier(word):
                self._fail(f"found '{word}', expected: ',', or identifier")
            elif current:
                self._fail(f"found '{word}', expected: ',' or ')'")
            else:
                current = word
        values.add(current)
        return tuple(sorted(values))

    def _peek(self) -> str:
        return self._words[self._position] if self._position < len(self._words) else ""

    def _next(self) -> str:
        word = self._peek()
        self._position += 1
        return word

    def _fail(self, message: str) -> NoReturn:
        raise BadRequest(message)
