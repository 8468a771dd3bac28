"""What a type and its fields are for, in words for people: served by OpenAPI and shown by `kubectl explain`.

One TOML file per group beside `api.kinds`, a table per type: a key is a field, ``*`` names a type with the same fields.
`everywhere.toml` has what means the same in every type, and in every condition. They are read when first asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import kubelite.api.kinds

FOLDER = Path(kubelite.api.kinds.__file__).parent / "explanations"

Words = Mapping[str, Mapping[str, str]]


def explanation(definition: str, field: str) -> str:
    """Return the sentence about a field of a type; empty where nothing is written about it."""
    group, _, name = definition.rpartition(".")
    words = _words_of_group(group)
    own = words.get(name, {})
    if found := own.get(field) or words.get(own.get("*", ""), {}).get(field):
        return found
    everywhere = _words("everywhere")
    if name.endswith("Condition") and (found := everywhere["condition"].get(field)):
        return found
    return everywhere["field"].get(field, "")


def parameter_words(name: str, subresource: str = "") -> str:
    """Return the sentence about a parameter of a request."""
    words = _words("parameters")
    return words.get(subresource, {}).get(name) or words["everywhere"][name]


def _words_of_group(group: str) -> Words:
    """Return the file of a group: that of ``io.k8s.api.apps.v1`` is apps_v1."""
    name, _, version = group.rpartition(".")
    return _words(f"{name.rpartition('.')[2]}_{version}")


@cache
def _words(name: str) -> Words:
    import tomllib  # not before somebody asks: start-up time counts

    file = FOLDER / f"{name}.toml"
    return tomllib.loads(file.read_text("utf-8")) if file.is_file() else {}
