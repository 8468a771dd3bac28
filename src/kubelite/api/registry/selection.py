"""Selections of a list or watch: label and field selectors compiled together."""

from collections.abc import Iterator, Sequence
from copy import copy
from itertools import chain, islice
from typing import Any

import msgspec
from msgspec import Struct

from kubelite.api.machinery.field_selectors import (
    NAME,
    NAMESPACE,
    FieldSelector,
    Reader,
    parse_field_selector,
)
from kubelite.api.machinery.selectors import (
    DOES_NOT_EXIST,
    EVERYTHING,
    EXACT,
    IN,
    NOT_EQUALS,
    NOT_IN,
    NOTHING,
    Selector,
    parse_selector,
)
from kubelite.api.registry.conversion import Conversion
from kubelite.api.registry.objects import decode, encode
from kubelite.api.registry.resource import Resource
from kubelite.store.protocol import Entry

NEEDLES_MAX = 4
NEGATIONS = (NOT_IN, NOT_EQUALS, DOES_NOT_EXIST)  # an absent label satisfies these


class LabelledMeta(Struct):
    """Metadata decoded for its labels only, in a fraction of the time of the whole object."""

    labels: dict[str, str] | None = None


class Labelled(Struct):
    """An object as a label selector needs it."""

    metadata: LabelledMeta


_labelled = msgspec.json.Decoder(Labelled)


def labels_of(value: bytes) -> dict[str, str]:
    """Return the labels of an object, decoding nothing else."""
    return _labelled.decode(value).metadata.labels or {}


class Pin(Struct, frozen=True):
    """A field of the stored object that a selection requires to have `value`."""

    field: str
    value: str
    read: Reader


class LabelPin(Struct, frozen=True):
    """A label that a selection requires, with one value or (None) any."""

    key: str
    value: str | None


class Selection:
    """A compiled label and field selector."""

    __slots__ = (
        "_needles",
        "conversion",
        "fields",
        "identity",
        "is_prepared",
        "label_pin",
        "labels",
        "name",
        "namespace",
        "pin",
        "size_bytes",
    )

    def __init__(
        self,
        labels: Selector = EVERYTHING,
        fields: FieldSelector | None = None,
        conversion: Conversion | None = None,
    ) -> None:
        """`conversion` is that of the row whose objects are selected, as they are served."""
        fields = fields or FieldSelector()
        self.labels = labels
        self.fields = None if _by_key(fields) else fields
        self.name = fields.exact(NAME) or ""  # of an exact field selector term; "": any
        self.namespace = fields.exact(NAMESPACE) or ""
        self.is_prepared = conversion is not None and conversion.waits  # another server converts
        self.conversion = None if self.is_prepared else conversion  # that selecting does itself
        # The index keys of watches are those of the stored object, whose fields and labels may be others.
        self.pin = _pin(fields) if conversion is None else None  # the first exact field
        self.label_pin = None if self.is_prepared else _label_pin(labels)
        # Each needle costs a pass over all bytes, and a few exclude most objects, so use at most NEEDLES_MAX.
        needles = chain(_needles_of_labels(labels), _needles_of_fields(fields))
        self._needles = tuple(islice(needles, NEEDLES_MAX))
        of_labels, of_fields = str(labels), str(fields)
        self.size_bytes = len(of_labels) + len(of_fields)
        # Equal selections have equal identities, so that watches can share work.
        self.identity: tuple[object, ...] = (of_labels, labels.nothing, of_fields)

    def named(self, name: str) -> "Selection":
        """Return the selection narrowed to `name`; for watches of one object."""
        if self.name not in ("", name):
            return Selection(NOTHING)
        narrowed = copy(self)
        narrowed.name = name
        narrowed.identity = (*self.identity, name)
        return narrowed

    @property
    def is_everything(self) -> bool:
        """Whether every object of the scope is selected."""
        return not (self.needs_object or self.name or self.namespace)

    @property
    def needs_object(self) -> bool:
        """Whether the decision needs more than the key of an object."""
        return self.fields is not None or not self.labels.is_everything

    def selects_key(self, namespace: str, name: str) -> bool:
        """Return whether namespace and name match."""
        return self.name in ("", name) and self.namespace in ("", namespace)

    def selects(self, item: dict[str, Any]) -> bool:
        """Return whether labels and fields of a decoded object match, in the version that is served."""
        if not self.labels.matches(item["metadata"].get("labels")):
            return False
        return self.fields is None or self.fields.matches(item)

    def selects_item(self, item: dict[str, Any]) -> bool:
        """Return whether name, namespace, labels and fields of a decoded object match; does not change it."""
        metadata = item["metadata"]
        return self.selects_key(metadata.get("namespace", ""), metadata["name"]) and self.selects(
            item
        )

    def candidates(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Return the entries that may be selected, by a substring search in their bytes."""
        needs = None if self.conversion is None else self.conversion.is_needed
        for needle in self._needles:
            entries = [
                entry
                for entry in entries
                if needle in entry.value or (needs is not None and needs(entry.revision))
            ]
        return entries

    def selects_entry(self, entry: Entry) -> bool:
        """Return whether labels and fields of an entry match, decoding only the labels if that suffices."""
        if self.fields is None:
            return self.labels.matches(labels_of(entry.value))
        item, conversion = decode.decode(entry.value), self.conversion
        if conversion is not None and conversion.is_needed(entry.revision):
            item = conversion.read(item)
        return self.selects(item)


def _needles_of_labels(labels: Selector) -> Iterator[bytes]:
    """Yield substrings of the bytes of every object that `labels` selects."""
    for each in labels.requirements:
        if each.operator in EXACT:
            yield encode({each.key: each.values[0]})[1:-1]


def _needles_of_fields(fields: FieldSelector) -> Iterator[bytes]:
    """Yield substrings of the bytes of every object that `fields` selects.

    Numbers and booleans are left out: in the object they may be unquoted or omitted.
    """
    for term in fields.terms:
        if term.equal and term.value not in ("", "true", "false") and not term.value.isdigit():
            yield encode(term.value)


def _by_key(fields: FieldSelector) -> bool:
    """Return whether the terms are at most one exact name and one exact namespace."""
    names = [term.field for term in fields.terms]
    return (
        fields.only_metadata
        and len(set(names)) == len(names)
        and all(term.equal and term.value for term in fields.terms)
    )


def _pin(fields: FieldSelector) -> Pin | None:
    for term in fields.terms:
        if term.equal and term.field not in (NAME, NAMESPACE):
            return Pin(term.field, term.value, fields.wanted[term.field].read)
    return None


def _label_pin(labels: Selector) -> LabelPin | None:
    found: LabelPin | None = None
    for each in labels.requirements:
        if each.operator in (*EXACT, IN) and len(each.values) == 1:
            return LabelPin(each.key, each.values[0])
        if found is None and each.operator not in NEGATIONS:
            found = LabelPin(each.key, None)
    return found


EVERY_OBJECT = Selection()


def parse_selection(resource: Resource, label_selector: str, field_selector: str) -> Selection:
    """Compile both selectors; raises BadRequest."""
    if not (label_selector or field_selector):
        return EVERY_OBJECT
    fields = parse_field_selector(field_selector, resource.fields)
    return Selection(parse_selector(label_selector), fields, resource.conversion)
