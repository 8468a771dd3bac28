"""A smaller copy of an OpenAPI schema: without what only people read, and with equal parts held once."""

from __future__ import annotations

from typing import Any, Final

JSON = dict[str, Any]

_FOR_PEOPLE: Final = frozenset({"description", "title", "example", "externalDocs"})
_NAMED: Final = frozenset({"properties", "patternProperties", "definitions"})
_LISTED: Final = frozenset({"allOf", "anyOf", "oneOf"})
_SINGLE: Final = frozenset({"items", "additionalProperties", "not"})


def condensed(openapi: JSON) -> JSON:
    """Return the copy; equal nodes are one object. The schema is not changed, and shares nothing that will be."""
    return _node(openapi, {})


def _node(node: JSON, known: dict[Any, JSON]) -> JSON:
    copy: JSON = {}
    for name, value in node.items():
        if name in _FOR_PEOPLE:
            continue
        if name in _SINGLE and isinstance(value, dict):
            copy[name] = _node(value, known)
        elif name in _NAMED and isinstance(value, dict):
            copy[name] = _shared(
                {each: _node(inner, known) for each, inner in value.items()}, known
            )
        elif name in _LISTED and isinstance(value, list):
            copy[name] = [_node(inner, known) for inner in value]
        else:
            copy[name] = value
    return _shared(copy, known)


def _shared(made: JSON, known: dict[Any, JSON]) -> JSON:
    """Return the equal dict that was made before, if there is one; inner nodes are compared by identity."""
    key = tuple((name, _key(value)) for name, value in made.items())
    return known.setdefault(key, made)  # `made` lives if it is new, so its id stays its own


def _key(value: Any) -> Any:
    if isinstance(value, dict):
        return id(value)  # the same for equal nodes, and all of them live until the end
    if isinstance(value, list):
        return tuple(map(_key, value))
    return value.__class__, value


def alternatives_of(openapi: JSON) -> int:
    """Return against how many alternatives one value may have to be checked, at most."""
    return _alternatives(openapi, {})[1]


def _alternatives(node: JSON, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Return the alternatives of a value of this node, and of the value below it that has most."""
    if (found := known.get(id(node))) is not None:
        return found
    choices = [choice for name in _LISTED for choice in node.get(name) or ()]
    if isinstance(node.get("not"), dict):
        choices.append(node["not"])
    judged = [_alternatives(choice, known) for choice in choices]
    own = len(choices) + sum(of_value for of_value, _ in judged)
    most = max([own, *(own + of_any for _, of_any in judged)])
    inner = list((node.get("properties") or {}).values())
    inner += [
        node[name] for name in ("items", "additionalProperties") if isinstance(node.get(name), dict)
    ]
    for each in inner:
        most = max(most, _alternatives(each, known)[1])
    known[id(node)] = own, most
    return own, most
