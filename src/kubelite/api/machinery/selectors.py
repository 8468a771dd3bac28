"""Label selectors: read from a query string or a LabelSelector, and matched against labels."""

from collections.abc import Iterable, Mapping, Sequence, Set
from functools import lru_cache
from itertools import groupby
from typing import Any, NoReturn

from msgspec import Struct

from kubelite.api.errors import BadRequest, Cause
from kubelite.api.kinds.meta import LabelSelector
from kubelite.api.machinery import causes, names

EQUALS, DOUBLE_EQUALS, NOT_EQUALS = "=", "==", "!="
EXACT = (EQUALS, DOUBLE_EQUALS)
IN, NOT_IN, EXISTS, DOES_NOT_EXIST = "in", "notin", "exists", "!"
GREATER, LESS = "gt", "lt"
OPERATORS = (IN, NOT_IN, EQUALS, DOUBLE_EQUALS, NOT_EQUALS, GREATER, LESS, EXISTS, DOES_NOT_EXIST)

_SYMBOLS = "=!(),><"
_BLANKS = " \t\r\n"
_BINARY = "=, !=, ==, in, notin, >, <"
_OF_STRUCT = {"In": IN, "NotIn": NOT_IN, "Exists": EXISTS, "DoesNotExist": DOES_NOT_EXIST}

NO_VALUES: frozenset[str] = frozenset()

Labels = Mapping[str, str]


class Requirement(Struct, frozen=True):
    """One condition on one label."""

    key: str
    operator: str
    values: tuple[str, ...] = ()  # sorted

    def matches(self, labels: Labels) -> bool:
        """Tell whether the labels meet the condition; an absent label meets negations."""
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
        """Check key, operator and values."""
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
        if value.lstrip("+-").isdigit() and value.isascii():
            return []
        wrong = "for 'Gt', 'Lt' operators, the value must be an integer"
        return [causes.invalid("values[0]", value, wrong)]


class Condition:
    """What all requirements on one key come to."""

    __slots__ = ("_above", "_among", "_below", "_none_of", "is_absence", "is_presence")

    def __init__(self, requirements: Iterable[Requirement]) -> None:
        self.is_presence = False  # the label has to be there
        self.is_absence = False  # the label must not be there
        self._among: frozenset[str] | None = None
        self._none_of: Set[str] = NO_VALUES
        self._above: int | None = None
        self._below: int | None = None
        for each in requirements:
            self._add(each)

    def _add(self, requirement: Requirement) -> None:
        operator, values = requirement.operator, requirement.values
        if operator in (NOT_IN, NOT_EQUALS):
            if not isinstance(self._none_of, set):
                self._none_of = set()
            self._none_of.update(values)
            return
        if operator == DOES_NOT_EXIST:
            self.is_absence = True
            return
        self.is_presence = True
        if operator in (IN, *EXACT):
            among = frozenset(values)
            self._among = among if self._among is None else self._among & among
        elif operator in (GREATER, LESS):
            self._bound(operator, integer(values[0]))

    def _bound(self, operator: str, bound: int | None) -> None:
        if bound is None:
            self._among = frozenset()
        elif operator == GREATER:
            self._above = bound if self._above is None else max(bound, self._above)
        else:
            self._below = bound if self._below is None else min(bound, self._below)

    @property
    def only_value(self) -> str | None:
        """The one value the label must have, if there is one."""
        if self._among is None or len(self._among) != 1:
            return None
        return next(iter(self._among))

    def allows(self, value: str | None) -> bool:
        """Tell whether the value, or None for an absent label, meets the requirements."""
        if value is None:
            return not self.is_presence
        if self.is_absence or value in self._none_of:
            return False
        if self._among is not None and value not in self._among:
            return False
        return (self._above is None and self._below is None) or self._is_between(value)

    def _is_between(self, value: str) -> bool:
        number = integer(value)
        if number is None or (self._above is not None and number <= self._above):
            return False
        return self._below is None or number < self._below


def integer(text: str) -> int | None:
    """Read a signed integer of 64 bits as Go's ParseInt does; None for what is none."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()):
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


class Selector:
    """A conjunction of requirements; without any it matches everything.

    Matching costs what the shorter of selector and labels has, whatever the other has: a client may ask for thousands
    of labels, and objects have a few.
    """

    __slots__ = ("_present", "conditions", "nothing", "requirements")

    def __init__(self, requirements: Sequence[Requirement] = (), *, nothing: bool = False) -> None:
        self.requirements = tuple(sorted(requirements, key=lambda each: each.key))
        self.nothing = nothing
        self.conditions = {
            key: Condition(found)
            for key, found in groupby(self.requirements, key=lambda each: each.key)
        }
        self._present = frozenset(
            key for key, condition in self.conditions.items() if condition.is_presence
        )

    @property
    def is_everything(self) -> bool:
        """Whether no labels are asked for at all."""
        return not (self.requirements or self.nothing)

    def matches(self, labels: Labels | None) -> bool:
        """Tell whether the labels meet every requirement."""
        if self.nothing:
            return False
        labels, conditions = labels or {}, self.conditions
        if len(conditions) <= len(labels):
            for key, condition in conditions.items():  # noqa: SIM110 - all() takes twice as long
                if not condition.allows(labels.get(key)):
                    return False
            return True
        if len(self._present) > len(labels) or not self._present <= labels.keys():
            return False
        for key, value in labels.items():
            known = conditions.get(key)
            if known is not None and not known.allows(value):
                return False
        return True

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
    """Read a labelSelector parameter such as ``app=web,tier in (a,b),!old``.

    Raises:
        BadRequest: It has no meaning; the message is Kubernetes' own.
    """
    if not text:
        return EVERYTHING
    return _parse_known(text) if len(text) <= 512 else _Parser(text).selector()


@lru_cache(maxsize=1024)
def _parse_known(text: str) -> Selector:
    return _Parser(text).selector()


def labels_selector(labels: Labels | None) -> Selector:
    """Return what matches just these labels, as a Service's selector does; none match everything."""
    return Selector([Requirement(key, EQUALS, (value,)) for key, value in (labels or {}).items()])


def label_selector(selector: LabelSelector | Mapping[str, Any] | None) -> Selector:
    """Turn a LabelSelector, typed or as JSON, into a Selector: None matches nothing, an empty one everything.

    Raises:
        BadRequest: An operator, key or value is wrong.
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
    requirements = [_checked(Requirement(key, EQUALS, (labels[key],))) for key in labels]
    for key, operator, values in expressions:
        if operator not in _OF_STRUCT:
            raise BadRequest(f"{causes.quoted(operator)} is not a valid label selector operator")
        requirements.append(_checked(Requirement(key, _OF_STRUCT[operator], tuple(sorted(values)))))
    return Selector(requirements)


def _checked(requirement: Requirement) -> Requirement:
    found = requirement.causes()
    if found:
        lines = [f"{cause.path}: {cause.message}" for cause in found]
        raise BadRequest(lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]")
    return requirement


def _words(text: str) -> list[str]:
    """Cut a selector into identifiers, keywords and symbols; the last word is empty."""
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
    """Reads a selector by recursive descent; keywords may stand as values."""

    def __init__(self, text: str) -> None:
        self._words = _words(text)
        self._position = 0

    def selector(self) -> Selector:
        requirements = []
        while (word := self._peek()) != "":
            if not _is_identifier(word) and word != "!":
                self._fail(f"found '{word}', expected: !, identifier, or 'end of string'")
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
