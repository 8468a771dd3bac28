"""What other API servers' OpenAPI documents of version 2 say of their group versions: read, merged, and as version 3.

Kubernetes' aggregator merges so: paths of a group version count only from the server it is delegated to. A definition
that differs from one of the same name is renamed (``_v2``, ``_v3``, …) with all references to it, and equal ones are
shared.
The documents may be hostile, so whatever cannot be encoded as OpenAPI is left out whole. All here is pure.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from kubelite.api.errors import RequestEntityTooLarge
from kubelite.api.machinery.document_size import check_json
from kubelite.api.machinery.openapi_builder import INFO
from kubelite.api.machinery.openapi_proto import (
    encode_definition,
    encode_parameter,
    encode_path,
)

JSON = dict[str, Any]

DEFINITIONS, PARAMETERS = "#/definitions/", "#/parameters/"
SCHEMAS = "#/components/schemas/"
KINDS = "x-kubernetes-group-version-kind"
METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
TEXTS = ("tags", "produces", "consumes", "schemes")
BODY = "body"
# What the encoders raise for values of other types than OpenAPI has.
_ODD = (
    TypeError,
    ValueError,
    KeyError,
    AttributeError,
    OverflowError,
    RecursionError,
    struct.error,
)


class Malformed(Exception):
    """A document is not one of OpenAPI; the message says why."""


class ForeignSpec(Struct, frozen=True):
    """The part of a document that is about one group version: JSON of its paths, definitions and parameters."""

    content: bytes
    digest: bytes


def chosen(body: bytes, paths: Iterable[str]) -> dict[str, ForeignSpec]:
    """Return what a document of version 2 says of the group versions at some paths. Raises Malformed.

    A path is one such as ``apis/example.com/v1``. Definitions that it does not refer to are left out.
    """
    try:
        check_json(body)
        document = msgspec.json.decode(body)
        listed = _mapping(document, "paths")
        found = {}
        for path in paths:
            below = {
                name: _path_item(item)
                for name, item in listed.items()
                if name.startswith(f"/{path}/")
            }
            if below:
                found[path] = _spec(below, document)
        return found
    except (*_ODD, msgspec.MsgspecError, RequestEntityTooLarge) as error:
        raise Malformed(f"no OpenAPI document: {error}") from error


def _mapping(value: Any, name: str) -> JSON:
    found = value.get(name) or {}
    if not isinstance(found, dict):
        raise TypeError(f"{name} is no object")
    return found


def _spec(paths: JSON, document: JSON) -> ForeignSpec:
    """Return some paths with all that they refer to."""
    all_parameters = _mapping(document, "parameters")
    all_definitions = _mapping(document, "definitions")
    parameters = {
        name: _parameter(all_parameters[name])
        for name in _references(paths, PARAMETERS)
        if name in all_parameters
    }
    definitions: JSON = {}
    missing = sorted(_references([paths, parameters], DEFINITIONS))
    while missing:
        name = missing.pop()
        if name not in definitions and name in all_definitions:
            definitions[name] = all_definitions[name]
            missing += sorted(_references(definitions[name], DEFINITIONS))
    _check(paths, definitions, parameters)
    content = msgspec.json.encode(
        {"paths": paths, "definitions": definitions, "parameters": parameters}
    )
    return ForeignSpec(content, hashlib.sha256(content).digest())


def _check(paths: JSON, definitions: JSON, parameters: JSON) -> None:
    """Raise what the encoders raise: what they can encode is OpenAPI."""
    for path, item in paths.items():
        encode_path(path, item)
    for name, item in definitions.items():
        encode_definition(name, item)
    for name, item in parameters.items():
        encode_parameter(name, item)


def _path_item(item: JSON) -> JSON:
    """Return a path item with the fields that documents of this server have, too."""
    made: JSON = {method: _operation(item[method]) for method in METHODS if method in item}
    return made | {"parameters": _parameters(item)}


def _parameters(value: JSON) -> list[JSON]:
    return [_parameter(each) for each in value.get("parameters") or ()]


def _parameter(value: JSON) -> JSON:
    if "$ref" in value:
        return {"$ref": value["$ref"]}
    return {"description": "", "uniqueItems": False, **value}


def _operation(value: JSON) -> JSON:
    made: JSON = {name: list(value.get(name) or ()) for name in TEXTS}
    made |= {name: value.get(name) or "" for name in ("description", "operationId")}
    made["parameters"] = _parameters(value)
    made["responses"] = {
        code: {"description": "", **response}
        for code, response in _mapping(value, "responses").items()
    }
    return made | {name: each for name, each in value.items() if name.startswith("x-")}


def _nodes(value: Any) -> Iterator[JSON]:
    """Yield all objects in a JSON value, without recursion."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _references(value: Any, prefix: str) -> set[str]:
    """Return the names that the references of a kind in a JSON value have."""
    return {
        reference.removeprefix(prefix)
        for node in _nodes(value)
        if isinstance(reference := node.get("$ref"), str) and reference.startswith(prefix)
    }


# ---- merging


class Merged(Struct, frozen=True):
    """Paths, definitions and parameters to add to a document."""

    paths: JSON
    definitions: JSON
    parameters: JSON


def merge(
    specs: Sequence[ForeignSpec],
    definitions: Mapping[str, bytes],
    parameters: Mapping[str, bytes],
) -> Merged:
    """Return what the specs add to a document that has these definitions and parameters, encoded as entries.

    Of two specs that describe one path the first counts.
    """
    added = Merged({}, {}, {})
    for spec in specs:
        value = msgspec.json.decode(spec.content)
        for prefix, own, known, more in (
            (DEFINITIONS, value["definitions"], definitions, added.definitions),
            (PARAMETERS, value["parameters"], parameters, added.parameters),
        ):
            names = _names(own, known, more)
            _rename(value, prefix, names)
            for name, item in own.items():
                if names[name] not in known:
                    more.setdefault(names[name], item)
        for path, item in value["paths"].items():
            added.paths.setdefault(path, item)
    return added


def _names(own: JSON, known: Mapping[str, bytes], added: JSON) -> dict[str, str]:
    """Return the name that each definition gets: its own, or that of an equal one, or one that is free."""
    names: dict[str, str] = {}
    for name, item in own.items():
        candidate, number = name, 1
        while not _is_free(candidate, name, item, own, known, added):
            number += 1
            candidate = f"{name}_v{number}"
        names[name] = candidate
    return names


def _is_free(
    candidate: str, name: str, item: Any, own: JSON, known: Mapping[str, bytes], added: JSON
) -> bool:
    """Return whether a definition can have a name: nothing has it, or what equals it."""
    if candidate in known:
        return bool(_comparable(_entry(known[candidate])) == _comparable(item))
    if candidate in added:
        return bool(_comparable(added[candidate]) == _comparable(item))
    return candidate == name or candidate not in own


def _entry(encoded: bytes) -> Any:
    """Return the value of an encoded entry of an object, ``"name":value``."""
    (value,) = msgspec.json.decode(b"{%b}" % encoded).values()
    return value


def _comparable(item: Any) -> Any:
    """Return a definition without the kinds that it is used for, which do not make another of it."""
    if isinstance(item, dict) and KINDS in item:
        return {name: value for name, value in item.items() if name != KINDS}
    return item


def _rename(value: Any, prefix: str, names: Mapping[str, str]) -> None:
    """Change all references of a kind in place."""
    changed = {prefix + old: prefix + new for old, new in names.items() if old != new}
    if not changed:
        return
    for node in _nodes(value):
        reference = node.get("$ref")
        if isinstance(reference, str) and reference in changed:
            node["$ref"] = changed[reference]


# ---- version 3


def version_3(spec: ForeignSpec) -> bytes:
    """Return a document of version 3 that says the same, as far as it can."""
    value = msgspec.json.decode(spec.content)
    parameters = value["parameters"]
    document = {
        "openapi": "3.0.0",
        "info": INFO,
        "paths": {path: _item_3(item, parameters) for path, item in value["paths"].items()},
        "components": {"schemas": value["definitions"]},
    }
    names = {
        reference: SCHEMAS + reference.removeprefix(DEFINITIONS)
        for node in _nodes(document)
        if isinstance(reference := node.get("$ref"), str) and reference.startswith(DEFINITIONS)
    }
    for node in _nodes(document):
        reference = node.get("$ref")
        if isinstance(reference, str) and reference in names:
            node["$ref"] = names[reference]
    return msgspec.json.encode(document)


def _item_3(item: JSON, shared: JSON) -> JSON:
    made: JSON = {
        method: _operation_3(operation, shared)
        for method, operation in item.items()
        if method in METHODS
    }
    inherited = [_parameter_3(each) for each in _resolved(item["parameters"], shared)]
    return made | ({"parameters": inherited} if inherited else {})


def _operation_3(operation: JSON, shared: JSON) -> JSON:
    parameters = _resolved(operation["parameters"], shared)
    produced = operation["produces"] or ["*/*"]
    made: JSON = {
        name: operation[name] for name in ("tags", "description", "operationId") if operation[name]
    }
    if plain := [_parameter_3(each) for each in parameters if each.get("in") != BODY]:
        made["parameters"] = plain
    for body in (each for each in parameters if each.get("in") == BODY):
        content = _content(operation["consumes"] or ["*/*"], body)
        made["requestBody"] = {"content": content} | (
            {"required": True} if body.get("required") else {}
        )
    made["responses"] = {
        code: {"description": response["description"]}
        | ({"content": _content(produced, response)} if "schema" in response else {})
        for code, response in operation["responses"].items()
    }
    return made | {name: each for name, each in operation.items() if name.startswith("x-")}


def _content(media_types: Sequence[str], value: JSON) -> JSON:
    return {media_type: {"schema": value.get("schema") or {}} for media_type in media_types}


def _resolved(parameters: Sequence[JSON], shared: JSON) -> list[JSON]:
    """Return parameters without references; one to nothing is left out."""
    found = []
    for each in parameters:
        reference = each.get("$ref")
        one = shared.get(reference.removeprefix(PARAMETERS)) if reference else each
        if one is not None:
            found.append(one)
    return found


_OF_PARAMETER = ("name", "in", "description", "required")


def _parameter_3(parameter: JSON) -> JSON:
    made = {name: parameter[name] for name in _OF_PARAMETER if name in parameter}
    schema = {name: value for name, value in parameter.items() if name not in _OF_PARAMETER}
    return made | {"schema": schema}
