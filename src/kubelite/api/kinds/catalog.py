"""Finds the type of a group, version and kind among all that are built in."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType

import kubelite.api.kinds
from kubelite.api.kinds.model import GroupVersionKind, Kind


@cache
def kinds() -> Mapping[GroupVersionKind, type[Kind]]:
    """Return every built-in type that is an object of its own; imports all their modules (once, some 50 ms)."""
    package = kubelite.api.kinds
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        import_module(module.name)
    return MappingProxyType(
        {
            kind.gvk: kind
            for kind in Kind.__subclasses__()
            if kind.__module__.startswith(f"{package.__name__}.")
        }
    )
