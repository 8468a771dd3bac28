import tracemalloc
from typing import Any

from kubelite.api.kinds.apiextensions import CustomResourceDefinition
from kubelite.api.machinery.prune import prune
from kubelite.api.machinery.schema import Schema, compile_struct
from kubelite.limits import CAUSES_TEXT

STRING = Schema(type="string")
TREE = Schema(
    type="object",
    fields={
        "name": STRING,
        "parts": Schema(type="array", items=Schema(type="object", fields={"size": STRING})),
        "labels": Schema(type="map", items=STRING),
        "free": Schema(type="object", preserve=True, fields={"known": Schema(type="object")}),
        "template": Schema(type="object", embedded=True, fields={"spec": STRING}),
    },
)


def test_what_the_schema_does_not_know_goes() -> None:
    value: dict[str, Any] = {
        "name": "a",
        "nom": "b",
        "parts": [{"size": "1"}, {"sise": "2"}],
        "labels": {"x": "y"},
    }
    assert prune(TREE, value) == ("nom", "parts[1].sise")
    assert value == {"name": "a", "parts": [{"size": "1"}, {}], "labels": {"x": "y"}}


def test_preserved_objects_keep_unknown_fields_but_not_below_known_ones() -> None:
    value: dict[str, Any] = {"free": {"other": {"deep": 1}, "known": {"gone": 1}}}
    assert prune(TREE, value) == ("free.known.gone",)
    assert value == {"free": {"other": {"deep": 1}, "known": {}}}


def test_embedded_objects_keep_what_every_object_has() -> None:
    value: dict[str, Any] = {"template": {"kind": "A", "apiVersion": "v1", "metadata": {}, "x": 1}}
    assert prune(TREE, value) == ("template.x",)
    assert value == {"template": {"kind": "A", "apiVersion": "v1", "metadata": {}}}


def test_pruning_twice_changes_nothing_more() -> None:
    value: dict[str, Any] = {"nom": 1, "parts": [{"a": 1}]}
    assert prune(TREE, value)
    assert prune(TREE, value) == ()


def test_a_long_key_is_not_repeated_for_each_field_below_it() -> None:
    properties = {f"a{index}": {"unknown": 1} for index in range(900)}
    schema = {"properties": {"x" * 1_000_000: {"properties": properties}}}
    version = {"schema": {"openAPIV3Schema": schema}}
    tracemalloc.start()
    unknown = prune(compile_struct(CustomResourceDefinition), {"spec": {"versions": [version]}})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * CAUSES_TEXT.value
    assert 0 < sum(map(len, unknown)) <= CAUSES_TEXT.value
