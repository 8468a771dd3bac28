"""Documents of other servers, merged: whatever they define, nothing of this server changes and no reference dangles."""

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from kubelite.api.machinery.openapi_foreign import chosen, merge

NAMES = st.sampled_from(["A", "B", "C", "A_v2", "A_v3", "B_v2"])
TYPES = st.sampled_from(["string", "integer", "object"])


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, Any]:
    """Definitions that refer to one another, and to some that are missing."""
    found = {}
    for name in draw(st.sets(NAMES)):
        item: dict[str, Any] = {"type": draw(TYPES)}
        if target := draw(st.none() | NAMES):
            item["properties"] = {"x": {"$ref": f"#/definitions/{target}"}}
        found[name] = item
    return found


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, bytes]:
    """A group version's path, and a document that describes it."""
    path = f"apis/{draw(st.sampled_from(['a', 'b']))}/v1"
    schema = {"$ref": f"#/definitions/{draw(NAMES)}"}
    operation = {"responses": {"200": {"description": "OK", "schema": schema}}}
    value = {"paths": {f"/{path}/x": {"get": operation}}, "definitions": draw(definitions())}
    return path, json.dumps(value).encode()


def references(value: Any) -> set[str]:
    parts = json.dumps(value).split("#/definitions/")[1:]
    return {part.partition('"')[0] for part in parts}


@given(st.lists(documents(), max_size=3), definitions())
def test_merging(read: list[tuple[str, bytes]], local: dict[str, Any]) -> None:
    specs = [chosen(body, [path])[path] for path, body in read]
    encoded = {name: msgspec.json.encode({name: value})[1:-1] for name, value in local.items()}
    added = merge(specs, encoded, {})
    assert not added.definitions.keys() & local.keys()
    missing = set()
    for spec in specs:
        own = msgspec.json.decode(spec.content)
        missing |= references(own) - own["definitions"].keys()
    dangling = references([added.paths, added.definitions]) - added.definitions.keys()
    assert dangling <= missing | local.keys()
    assert merge(specs, encoded, {}) == added
    assert len(added.paths) == len({path for path, _ in read})


@given(documents())
def test_a_server_that_is_merged_twice_adds_no_other_paths(read: tuple[str, bytes]) -> None:
    path, body = read
    spec = chosen(body, [path])[path]
    once, twice = merge([spec], {}, {}), merge([spec, spec], {}, {})
    assert once.paths == twice.paths
