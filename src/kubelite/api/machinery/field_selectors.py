"""Field selectors: which fields of a kind they may name, and whether an object matches."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from kubelite.api.errors import BadRequest
from kubelite.api.machinery.causes import cut, quoted
from kubelite.limits import SELECTOR_REQUIREMENTS

JSON = Mapping[str, Any]
Reader = Callable[[JSON], str]

NAME, NAMESPACE = "metadata.name", "metadata.namespace"


class Term(Struct, frozen=True):
    """One condition: the field's value equals, or does not equal, the text."""

    field: str
    equal: bool
    value: str

    def __str__(self) -> str:
        value = self.value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")
        return f"{self.field}{'=' if self.equal else '!='}{value}"


class Wanted(Struct, frozen=True):
    """The combination of all terms on one field."""

    read: Reader
    among: frozenset[str] | None  # None: any value
    none_of: frozenset[str]

    def allows(self, value: str) -> bool:
        """Return whether the field's value meets the terms."""
        return (self.among is None or value in self.among) and value not in self.none_of


class FieldSelector(Struct, frozen=True):
    """A conjunction of terms, bound to one kind's fields.

    Matching reads each field once, however many terms name it.
    """

    terms: tuple[Term, ...] = ()
    wanted: dict[str, Wanted] = {}  # by field, in the order of the terms

    @property
    def is_everything(self) -> bool:
        """Return whether the selector has no terms."""
        return not self.terms

    def matches(self, fields: JSON) -> bool:
        """Return whether the object, as a JSON dict, meets all terms."""
        return all(wanted.allows(wanted.read(fields)) for wanted in self.wanted.values())

    def exact(self, field: str) -> str | None:
        """Return the one value that the field must have; None if the terms do not fix it."""
        for term in self.terms:
            if term.equal and term.field == field:
                return term.value
        return None

    @property
    def only_metadata(self) -> bool:
        """Return whether name and namespace suffice to match."""
        return all(term.field in (NAME, NAMESPACE) for term in self.terms)

    def __str__(self) -> str:
        return ",".join(map(str, self.terms))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def at(*path: str, empty: str = "") -> Reader:
    """Return a reader of the text at a path of keys; it returns `empty` if a step is absent."""

    def read(fields: JSON) -> str:
        value: Any = fields
        for key in path:
            if not isinstance(value, Mapping):
                return empty
            value = value.get(key)
        return _text(value) or empty

    return read


def path_of(field: str, empty: str = "") -> Reader:
    """Return a reader of the text at a path such as ``spec.nodeName``; it returns `empty` if a step is absent."""
    return at(*field.split("."), empty=empty)


def paths(*fields: str) -> dict[str, Reader]:
    """Return the readers of paths, by path."""
    return {field: path_of(field) for field in fields}


METADATA = paths(NAME, NAMESPACE)
NAME_ONLY = paths(NAME)


class Fields(Struct, frozen=True):
    """The fields of a kind that a selector may name, and the refusal of others."""

    readers: Mapping[str, Reader]
    refusal: str = "field label not supported: {field}"  # {quoted}: the name in quotes


ANY_KIND = Fields(
    METADATA,
    '{quoted} is not a known field selector: only "metadata.name", "metadata.namespace"',
)


def parse_field_selector(text: str, fields: Fields = ANY_KIND) -> FieldSelector:
    """Parse a fieldSelector parameter for a kind with these fields.

    Raises:
        BadRequest: The selector is malformed, or names a field that the kind does not support.
    """
    if not text:
        return FieldSelector()
    terms = _terms(text)
    readers: dict[str, Reader] = {}
    for term in terms:
        reader = fields.readers.get(term.field)
        if reader is None:
            name = {"field": term.field, "quoted": quoted(term.field)}
            raise BadRequest(fields.refusal.format(**name))
        readers[term.field] = reader
    return FieldSelector(tuple(terms), _wanted(terms, readers))


def _wanted(terms: Sequence[Term], readers: Mapping[str, Reader]) -> dict[str, Wanted]:
    equal: dict[str, set[str]] = {}
    others: dict[str, set[str]] = {}
    for term in terms:
        (equal if term.equal else others).setdefault(term.field, set()).add(term.value)
    wanted = {}
    for field, read in readers.items():
        exact = equal.get(field)
        # A field cannot equal two values, so two different ones match nothing.
        among = None if exact is None else frozenset(exact if len(exact) == 1 else ())
        wanted[field] = Wanted(read, among, frozenset(others.get(field, ())))
    return wanted


def required_values(text: str) -> dict[str, str]:
    """Return the values that a selector requires, by field; none if it is malformed.

    Authorization uses it, so it reads escapes as the selection will.
    """
    try:
        terms = _terms(text)
    except BadRequest:
        return {}
    values: dict[str, str] = {}
    for term in terms:
        if term.equal:
            values.setdefault(term.field, term.value)
    return values


def _terms(text: str) -> list[Term]:
    parts = [part for part in sorted(_split(text)) if part]
    if len(parts) > SELECTOR_REQUIREMENTS.value:
        SELECTOR_REQUIREMENTS.reached()
        raise BadRequest(f"invalid selector: more than {SELECTOR_REQUIREMENTS.value} terms")
    return [_term(part, text) for part in parts]


def _split(text: str) -> list[str]:
    """Split at commas that no backslash escapes."""
    parts, start, escaped = [], 0, False
    for index, letter in enumerate(text):
        if escaped:
            escaped = False
        elif letter == "\\":
            escaped = True
        elif letter == ",":
            parts.append(text[start:index])
            start = index + 1
    parts.append(text[start:])
    return parts


def _term(part: str, whole: str) -> Term:
    found = part.find("=")
    if found < 0:
        raise BadRequest(f"invalid selector: '{cut(whole)}'; can't understand '{cut(part)}'")
    equal = not (found and part[found - 1] == "!")
    field = part[: found if equal else found - 1]
    value = part[found + 1 :]
    if equal and value.startswith("="):
        value = value[1:]
    return Term(field, equal, _unescaped(value))


def _unescaped(value: str) -> str:
    if not ("\\" in value or "," in value or "=" in value):
        return value
    letters, escaped = [], False
    for letter in value:
        if escaped:
            if letter not in "\\,=":
                raise BadRequest(f"invalid field selector: invalid escape sequence: \\{letter}")
            letters.append(letter)
            escaped = False
        elif letter == "\\":
            escaped = True
        elif letter in ",=":
            raise BadRequest(f"invalid field selector: unescaped character in value: {ord(letter)}")
        else:
            letters.append(letter)
    if escaped:
        raise BadRequest("invalid field selector: invalid escape sequence: \\")
    return "".join(letters)
