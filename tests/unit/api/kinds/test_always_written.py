"""Fields that are on the wire even when they are empty: of every type, and of every kind as it is served."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from facts.always_written import FACTS

from kubelite.api.kinds.catalog import kinds
from kubelite.api.kinds.model import Model
from kubelite.api.machinery.schema import Schema, compile_struct
from kubelite.api.machinery.shaping.go import structure
from kubelite.api.registry.builtin import RESOURCES
from kubelite.api.registry.resource import Resource

ALWAYS: dict[str, list[str]] = json.loads(FACTS.read_text())
WITHOUT_FACTS = {"CustomResourceSubresourceStatus"}  # has no fields
IDENTITY = {"apiVersion", "kind"}  # of kinds; of references they count


def types(type_: type[Model] = Model) -> Iterator[type[Model]]:
    kinds()
    for each in type_.__subclasses__():
        if each.__module__.startswith("kubelite.api.kinds") and each.__name__ != "Kind":
            yield each
        yield from types(each)


TYPES = {compile_struct(each).definition: compile_struct(each) for each in types()}


@pytest.mark.parametrize("definition", sorted(TYPES))
def test_a_type_always_writes_what_go_writes(definition: str) -> None:
    schema = TYPES[definition]
    identity = IDENTITY if schema.gvk is not None else set()
    ours = {name for name, node in schema.fields.items() if node.always} - identity
    if schema.name in WITHOUT_FACTS:
        assert definition not in ALWAYS
    else:
        assert ours == set(ALWAYS.get(definition, ())) & schema.fields.keys()


def missing(schema: Schema, value: Any, path: str = "") -> Iterator[str]:
    """Yield the paths of fields that ought to be there."""
    if isinstance(value, list) and schema.items is not None:
        for index, item in enumerate(value):
            yield from missing(schema.items, item, f"{path}[{index}]")
    if not isinstance(value, dict) or schema.type != "object":
        return
    for name in ALWAYS.get(schema.definition, ()):
        if name in schema.fields and name not in value:
            yield f"{path}.{name}"
    for name, child in value.items():
        if name in schema.fields:
            yield from missing(schema.fields[name], child, f"{path}.{name}")


@pytest.mark.parametrize("row", RESOURCES, ids=lambda row: f"{row.plural}.{row.api_version}")
def test_an_empty_object_has_what_is_always_written(row: Resource) -> None:
    stored_as = next(one for one in RESOURCES if one.storage == row.storage and one.is_canonical)
    body: dict[str, Any] = {"metadata": {"name": "a"}, "spec": {}, "status": {}}
    structure(stored_as.schema, body)
    served = body if row.conversion is None else row.conversion.read(body)
    assert list(missing(row.schema, served)) == []
