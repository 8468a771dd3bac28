"""Shaping and defaulting objects of every kind: done twice is done once, and valid objects stay as they are."""

from copy import deepcopy
from typing import Any

from fakes.rows import ROWS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubelite.api.kinds.catalog import kinds
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.prune import prune
from kubelite.api.machinery.schema import Schema, compile_struct
from kubelite.api.machinery.shaping.go import structure

ROOTS = sorted(gvk for gvk in kinds() if not gvk.kind.endswith(("List", "Options")))
DEPTH = 6

TEXTS = st.text(alphabet="abz09./-", min_size=1, max_size=4)
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "integer": st.integers(-(2**31), 2**31 - 1),
    "number": st.floats(allow_nan=False, allow_infinity=False, width=32),
    "boolean": st.booleans(),
    "int-or-string": st.integers(0, 65535) | TEXTS,
    "quantity": st.sampled_from(["0", "1", "100m", "1Gi", "0.5", "1e3", "1500u", 2, 0.25]),
    "time": st.sampled_from(["2024-02-29T12:00:00Z", "2024-01-01T02:00:00.5+02:00"]),
    "any": st.dictionaries(TEXTS, st.integers() | TEXTS, max_size=2),
}


@st.composite
def values(draw: st.DrawFn, schema: Schema, depth: int = 0) -> Any:
    """Make a value of the type; now and then a null where Go would take one."""
    if depth and draw(st.integers(0, 15)) == 0:
        return None
    match schema.type:
        case "object":
            return {} if depth > DEPTH else draw(objects(schema, depth))
        case "array" if schema.items is not None:
            many = 0 if depth > DEPTH else draw(st.integers(0, 2))
            return [draw(values(schema.items, depth + 1)) for _ in range(many)]
        case "map" if schema.items is not None:
            names = draw(st.lists(TEXTS, max_size=2))
            return {name: draw(values(schema.items, depth + 1)) for name in names}
        case "string" if schema.format == "byte":
            return draw(st.sampled_from(["", "YQ==", "YWJj"]))
        case "string":
            return draw(TEXTS | st.just(""))
        case _:
            return draw(SCALARS[schema.type])


@st.composite
def objects(draw: st.DrawFn, schema: Schema, depth: int = 0) -> dict[str, Any]:
    names = (
        draw(st.lists(st.sampled_from(sorted(schema.fields)), max_size=4, unique=True))
        if schema.fields
        else []
    )
    made = {name: draw(values(schema.fields[name], depth + 1)) for name in names}
    for name in ("spec", "template"):  # where most of it is
        if name in schema.fields and depth <= DEPTH:
            made[name] = draw(values(schema.fields[name], depth + 1))
    return made


@st.composite
def bodies(draw: st.DrawFn) -> tuple[GroupVersionKind, dict[str, Any]]:
    gvk = draw(st.sampled_from(ROOTS))
    body: dict[str, Any] = draw(objects(compile_struct(kinds()[gvk])))
    return gvk, body


MANY = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


@MANY
@given(bodies())
def test_shaping_and_defaulting_twice_is_once(
    made: tuple[GroupVersionKind, dict[str, Any]],
) -> None:
    gvk, body = made
    schema = compile_struct(kinds()[gvk])
    assert structure(schema, body) == ()
    once = deepcopy(body)
    assert structure(schema, body) == ()
    assert body == once
    if gvk not in ROWS:  # the body of a subresource
        return
    shape = ROWS[gvk].shape
    shape.complete(body)
    structure(schema, body)
    filled = deepcopy(body)
    shape.complete(body)
    structure(schema, body)
    assert body == filled


@MANY
@given(bodies(), st.data())
def test_only_what_is_unknown_is_pruned(
    made: tuple[GroupVersionKind, dict[str, Any]], data: st.DataObject
) -> None:
    gvk, body = made
    schema = compile_struct(kinds()[gvk])
    structure(schema, body)
    before = deepcopy(body)
    assert prune(schema, body) == ()
    objects_in_it = _plain_objects(schema, body)
    data.draw(st.sampled_from(objects_in_it))["unheard-of"] = {"a": 1}
    assert len(structure(schema, body)) == 1
    assert body == before


def _plain_objects(schema: Schema, value: Any) -> list[dict[str, Any]]:
    """Return all objects whose fields are named by their type."""
    found = []
    if schema.type == "object" and not schema.loose and isinstance(value, dict):
        found.append(value)
        for name, item in value.items():
            found += _plain_objects(schema.fields[name], item)
    elif schema.type in {"array", "map"} and schema.items is not None and value:
        for item in value if isinstance(value, list) else value.values():
            found += _plain_objects(schema.items, item)
    return found
