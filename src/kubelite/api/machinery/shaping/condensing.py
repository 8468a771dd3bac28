"""A smaller copy of an OpenAPI schema: without what only people read, and with equal parts held once."""

from __future__ import annotations

from typing import Any, Final

JSON = dict[str, Any]

_FOR_PEOPLE: Final = frozenset({"description", "title", "example", "externalDocs"})
_NAMED: Final = frozenset({"properties", "patternProperties", "definitions"})
_LISTED: Final = frozenset({"allOf", "anyOf", "oneOf"})
_HOLDING: Final = ("items", "additionalProperties")
_SINGLE: Final = frozenset({*_HOLDING, "not"})


def condensed(openapi: JSON) -> JSON:
    """Return the copy; equal nodes are one object. The schema is not changed, and shares nothing that will be."""
    return _Copies().node(openapi)


class _Copies:
    """The parts of one copy."""

    def __init__(self) -> None:
        self._made: dict[Any, JSON] = {}  # by what they hold
        self._seen: dict[int, JSON] = {}  # by the identity of the original, which lives meanwhile

    def node(self, node: JSON) -> JSON:
        """Return the copy of a node."""
        if (known := self._seen.get(id(node))) is not None:
            return known
        copy = {name: self._part(name, node[name]) for name in node if name not in _FOR_PEOPLE}
        self._seen[id(node)] = copy = self._shared(copy)
        return copy

    def _part(self, name: str, value: Any) -> Any:
        if name in _SINGLE and isinstance(value, dict):
            return self.node(value)
        if name in _NAMED and isinstance(value, dict):
            return self._shared({each: self.node(inner) for each, inner in value.items()})
        if name in _LISTED and isinstance(value, list):
            return [self.node(inner) for inner in value]
        return value

    def _shared(self, made: JSON) -> JSON:
        """Return the equal dict that was made before, if there is one; inner nodes are compared by identity."""
        return self._made.setdefault(
            tuple((name, _key(value)) for name, value in made.items()), made
        )


def _key(value: Any) -> Any:
    if isinstance(value, dict):
        return id(value)  # the same for equal nodes, and all of them live until the end
    if isinstance(value, list):
        return tuple(map(_key, value))
    return value.__class__, value


def alternatives_of(openapi: JSON) -> int:
    """Return against how many alternatives one value may have to be checked, at most."""
    return max(_alternatives(openapi, {}))


def _alternatives(node: JSON, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Return the alternatives of a value of this node, and of the value below it that has most."""
    if (found := known.get(id(node))) is not None:
        return found
    choices = [choice for name in _LISTED for choice in node.get(name) or ()]
    if isinstance(node.get("not"), dict):
        choices.append(node["not"])
    judged = [_alternatives(choice, known) for choice in choices]
    inner = [*(node.get("properties") or {}).values()]
    inner += [node[name] for name in _HOLDING if isinstance(node.get(name), dict)]
    below = max((max(_alternatives(each, known)) for each in inner), default=0)
    known[id(node)] = (
        len(choices) + sum(own for own, _ in judged),
        below + sum(of_inner for _, of_inner in judged),
    )
    return known[id(node)]
