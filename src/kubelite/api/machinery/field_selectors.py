"""Field selectors: which fields of a kind they may name, and whether an object matches."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from kubelite.api.errors import BadRequest
from kubelite.api.machinery.causes import cut, quoted
from kubelite.limits import SELECTOR_REQUIREMENTS

Fields = Mapping[str, Any]
Reader = Callable[[Fields], str]

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

    def matches(self, fields: Fields) -> bool:
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

    def read(fields: Fields) -> str:
        value: Any = fields
        for key in path:
            if not isinstance(value, Mapping):
                return empty
            value = value.get(key)
        return _text(value) or empty

    return read


def _path(field: str, empty: str = "") -> Reader:
    return at(*field.split("."), empty=empty)


def _event_source(fields: Fields) -> str:
    """Return the component that wrote an event, of the old or the new API."""
    return at("source", "component")(fields) or at("reportingComponent")(fields)


def _pod_address(fields: Fields) -> str:
    addresses = (fields.get("status") or {}).get("podIPs") or ()
    return addresses[0].get("ip", "") if addresses else at("status", "podIP")(fields)


def _nothing(_fields: Fields) -> str:
    return ""


_METADATA: dict[str, Reader] = {
    NAME: at("metadata", "name"),
    NAMESPACE: at("metadata", "namespace"),
}
_NAME_ONLY: dict[str, Reader] = {NAME: _METADATA[NAME]}


def _fields(*names: str, **special: Reader) -> dict[str, Reader]:
    return {name: _path(name) for name in names} | special


_INVOLVED = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")

SUPPORTED: dict[tuple[str, str], dict[str, Reader]] = {
    ("", "Pod"): {
        **_METADATA,
        **_fields(
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.nominatedNodeName",
        ),
        "spec.host": _path("spec.nodeName"),
        "spec.hostNetwork": _path("spec.hostNetwork", "false"),
        "status.podIP": _pod_address,
        "status.podIPs": _nothing,
    },
    ("", "Node"): {**_NAME_ONLY, "spec.unschedulable": _path("spec.unschedulable", "false")},
    ("", "ReplicationController"): {**_METADATA, "status.replicas": _path("status.replicas", "0")},
    ("", "Event"): {
        **_METADATA,
        **_fields(*(f"involvedObject.{name}" for name in _INVOLVED)),
        **_fields("reason", "reportingComponent", "type"),
        "source": _event_source,
    },
    ("events.k8s.io", "Event"): {
        **_METADATA,
        **{f"regarding.{name}": _path(f"regarding.{name}") for name in _INVOLVED},
        **_fields("reason", "reportingController", "type"),
    },
    ("", "Namespace"): {**_NAME_ONLY, "status.phase": _path("status.phase")},
    ("", "Secret"): {**_METADATA, "type": _path("type")},
    ("", "Service"): {**_METADATA, **_fields("spec.clusterIP", "spec.type")},
    ("batch", "Job"): {**_METADATA, "status.successful": _path("status.succeeded", "0")},
    ("certificates.k8s.io", "CertificateSigningRequest"): {
        **_NAME_ONLY,
        "spec.signerName": _path("spec.signerName"),
    },
    ("resource.k8s.io", "ResourceSlice"): {
        **_NAME_ONLY,
        **_fields("spec.nodeName", "spec.driver"),
    },
}


def parse_field_selector(
    text: str, group: str, kind: str, *, version: str = "v1", selectable: Iterable[str] = ()
) -> FieldSelector:
    """Parse a fieldSelector parameter for a kind; `selectable` are the paths that a CRD adds, such as ``spec.color``.

    Raises:
        BadRequest: The selector is malformed, or names a field that the kind does not support.
    """
    if not text:
        return FieldSelector()
    terms = _terms(text)
    extra = {name: _path(name) for name in selectable}
    supported = SUPPORTED.get((group, kind))
    readers: dict[str, Reader] = {}
    for term in terms:
        reader = (supported or _METADATA).get(term.field) or extra.get(term.field)
        if reader is None:
            raise BadRequest(_refusal(term.field, group, version, kind, supported, extra))
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


def _refusal(
    field: str,
    group: str,
    version: str,
    kind: str,
    supported: Mapping[str, Reader] | None,
    extra: Mapping[str, Reader],
) -> str:
    if kind == "Job" and group == "batch":
        return f"field label {quoted(field)} not supported for Job"
    if kind == "ResourceSlice":
        return f"field label not supported for {group}/{version}, Kind={kind}: {field}"
    if supported is None and not extra:
        return (
            f"{quoted(field)} is not a known field selector: "
            'only "metadata.name", "metadata.namespace"'
        )
    return f"field label not supported: {field}"


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
