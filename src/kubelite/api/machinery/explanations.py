"""What a type and its fields are for, in words for people: served by OpenAPI and shown by `kubectl explain`.

One TOML file per group, a table per definition; a key is a field. They are read when first asked for.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

# Of a field that means the same in every kind, where its own table says nothing.
EVERYWHERE: Mapping[str, str] = {
    "apiVersion": "Group and version of the API this object is written in, such as apps/v1.",
    "kind": "What sort of object this is, in CamelCase, such as Deployment.",
    "metadata": "Name, namespace, labels and the other facts that every object carries.",
    "spec": "What is wanted.",
    "status": "What was last observed. Written by controllers, not by users.",
    "items": "The objects of the list.",
}


def explanation(definition: str, field: str) -> str:
    """Return the sentence about a field of a type; empty where nothing is written about it."""
    own = _table(definition.rpartition(".")[0]).get(definition.rpartition(".")[2], {})
    return own.get(field) or EVERYWHERE.get(field, "")


@cache
def _table(group: str) -> Mapping[str, Mapping[str, str]]:
    """Read the file of a group: ``io.k8s.api.apps.v1`` is apps_v1.toml."""
    *_, name, version = group.rpartition("apis.")[2].split(".") if group else ("", "")
    found = files("kubelite.api.kinds").joinpath("explanations", f"{name}_{version}.toml")
    if not found.is_file():
        return {}
    return tomllib.loads(found.read_text("utf-8"))
