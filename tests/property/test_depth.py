"""Documents as deep as a body may be pass through everything that a write does, whatever stands below on the stack."""

import copy
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from kubelite.api.errors import BadRequest, Conflict, Invalid, PlainError
from kubelite.api.kinds.apiextensions import CustomResourceDefinition
from kubelite.api.kinds.apps import ControllerRevision, Deployment
from kubelite.api.machinery.apply import apply
from kubelite.api.machinery.json_patch import json_patch
from kubelite.api.machinery.json_reading import DEPTH_LIMIT, is_too_deep, read_json
from kubelite.api.machinery.managed_fields import Writer, track
from kubelite.api.machinery.mismatch import find_mismatch
from kubelite.api.machinery.patch import merge_patch
from kubelite.api.machinery.prune import prune
from kubelite.api.machinery.schema import Schema, compile_struct
from kubelite.api.machinery.shaping.go import structure
from kubelite.api.machinery.strategic import strategic_merge
from kubelite.api.machinery.yaml_reading import read_yaml
from kubelite.api.registry.builtin import RESOURCES
from kubelite.api.registry.rules.difference import difference
from kubelite.api.registry.validation import validate

JSON = dict[str, Any]
FRAMES_BELOW = 300  # a server has some 100 below a write
WRITER = Writer("me", "v1", "2026-01-01T00:00:00Z")
ANY = Schema(type="object", fields={"spec": Schema(type="any", preserve=True)})


def nested(levels: int, step: Callable[[Any], Any]) -> Any:
    value: Any = {"last": 1}
    for _ in range(levels):
        value = step(value)
    return value


def definition(levels: int, field: str) -> JSON:
    schema: JSON = {"type": "object"}
    for _ in range(levels):
        inner = {"a": schema} if field == "properties" else [schema]
        schema = {"type": "object", field: schema if field == "items" else inner}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "as", "singular": "a", "kind": "A", "listKind": "AList"}
    spec = {"group": "b.c", "scope": "Namespaced", "names": names, "versions": [version]}
    return {"metadata": {"name": "as.b.c"}, "spec": spec}


def revision(levels: int, step: Callable[[Any], Any]) -> JSON:
    return {
        "metadata": {"name": "a", "namespace": "b"},
        "data": {"a": nested(levels, step)},
        "revision": 1,
    }


DEEP: list[tuple[type[Any], JSON]] = [
    (CustomResourceDefinition, definition(122, "properties")),
    (CustomResourceDefinition, definition(122, "allOf")),
    (CustomResourceDefinition, definition(240, "items")),
    (ControllerRevision, revision(250, lambda value: {"a": value})),
    (ControllerRevision, revision(250, lambda value: [value])),
    (
        Deployment,
        {"spec": {"template": {"spec": nested(120, lambda value: {"containers": [value]})}}},
    ),
]


def above(frames: int, work: Callable[[], Any]) -> Any:
    """Run `work` with so many frames below it."""
    return above(frames - 1, work) if frames else work()


def changed(value: JSON) -> JSON:
    """Return a copy in which the innermost values differ."""
    return msgspec.json.decode(msgspec.json.encode(value).replace(b"1", b"2"))  # type: ignore[no-any-return] # an object


def works(type_: type[Any], thing: JSON) -> list[Callable[[], Any]]:
    schema = compile_struct(type_)
    resource = next(row for row in RESOURCES if row.type is type_)
    body = msgspec.json.encode(thing)

    def made() -> Any:
        return msgspec.json.decode(body)

    shaped = made()
    structure(schema, shaped)
    shaped |= {"apiVersion": "v1", "kind": type_.__name__}
    other = changed(shaped)
    tracked = copy.deepcopy(shaped)
    track(schema, None, tracked, WRITER)
    return [
        lambda: read_json(body, find_duplicates=True),
        lambda: read_json(body.replace(b'"last"', b'"last" :1,"last"'), find_duplicates=True),
        lambda: read_yaml(body, find_duplicates=True),
        lambda: structure(schema, made()),
        lambda: resource.shape.complete(made()),
        lambda: prune(schema, made()),
        lambda: find_mismatch(schema, made()),
        lambda: find_mismatch(schema, made() | {"metadata": {"name": 1}}),
        lambda: track(schema, None, copy.deepcopy(shaped), WRITER),
        lambda: track(schema, tracked, copy.deepcopy(other), WRITER),
        lambda: apply(schema, tracked, copy.deepcopy(shaped), WRITER),
        lambda: apply(schema, tracked, copy.deepcopy(other), Writer("other", "v1", "")),
        lambda: apply(
            ANY, {"spec": shaped}, {"apiVersion": "v1", "spec": other}, WRITER, force=True
        ),
        lambda: merge_patch(made(), changed(thing)),
        lambda: strategic_merge(schema, made(), changed(thing)),
        lambda: json_patch(made(), [{"op": "test", "path": "", "value": made()}]),
        lambda: json_patch(made(), [{"op": "copy", "from": "/metadata", "path": "/spec"}]),
        lambda: validate(resource, shaped, None),
        lambda: validate(resource, other, shaped),
        lambda: difference(shaped, other),
    ]


@pytest.mark.parametrize(("type_", "thing"), DEEP)
def test_deep_documents_are_worked_on_or_refused(type_: type[Any], thing: JSON) -> None:
    assert not is_too_deep(thing)
    for work in works(type_, thing):
        with suppress(BadRequest, Invalid, Conflict, PlainError):
            above(FRAMES_BELOW, work)


def test_the_reserve_is_real() -> None:
    with pytest.raises(RecursionError):
        above(sys.getrecursionlimit(), lambda: None)
    assert is_too_deep(nested(DEPTH_LIMIT + 1, lambda value: [value]))
