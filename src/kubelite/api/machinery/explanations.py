"""Descriptions of types and their fields: served by OpenAPI and shown by `kubectl explain`.

One TOML file per group beside `api.kinds`, a table per type: a key is a field, ``*`` names a type with the same fields.
`everywhere.toml` has the fields with the same meaning in every type, and in every condition. Files are read at their
first use.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import kubelite.api.kinds

FOLDER = Path(kubelite.api.kinds.__file__).parent / "explanations"

Words = Mapping[str, Mapping[str, str]]


def explanation(definition: str, field: str) -> str:
    """Return the description of a field of a type; "" if there is none."""
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
    """Return the description of a request parameter."""
    words = _words("parameters")
    return words.get(subresource, {}).get(name) or words["everywhere"][name]


def _words_of_group(group: str) -> Words:
    """Return the content of a group's file: that of ``io.k8s.api.apps.v1`` is apps_v1."""
    name, _, version = group.rpartition(".")
    return _words(f"{name.rpartition('.')[2]}_{version}")


@cache
def _words(name: str) -> Words:
    import tomllib  # imported at the first use, to keep the start-up short

    file = FOLDER / f"{name}.toml"
    return tomllib.loads(file.read_text("utf-8")) if file.is_file() else {}
