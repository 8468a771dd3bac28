"""What Kubernetes 1.36 publishes about its API: the facts the project carries, and fuller ones where they are at hand.

`tests/facts` is part of the project (see its NOTICE). Where the variable KUBELITE_REFERENCE names a folder with the
documents of an API server (`schemas-1.36.json`, `discovery-1.36.json`, `rbac`, `roundtrip`), tests compare with these
as well. None is skipped without.
"""

import json
import os
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

FACTS = Path(__file__).parent / "facts"
REFERENCE = Path(os.environ["KUBELITE_REFERENCE"]) if "KUBELITE_REFERENCE" in os.environ else None


@cache
def published_schemas() -> dict[str, Any]:
    """Return the schema of each stable type by definition."""
    schemas: dict[str, Any] = json.loads((FACTS / "schemas-1.36.json").read_text())
    return schemas


@cache
def published_resources() -> dict[str, dict[str, Any]]:
    """Return all that discovery says about each resource, by `group/version/plural`."""
    resources: dict[str, dict[str, Any]] = json.loads((FACTS / "resources-1.36.json").read_text())
    named = tomllib.loads((FACTS / "discovery.toml").read_text())
    for name, row in resources.items():
        row["short"] = named["short_names"].get(name, [])
        row["categories"] = named["categories"].get(name, [])
        row["verbs"] = sorted(set(row["verbs"]) - set(named["not_served"].get(name, ())))
    for name, (kind, verbs) in named["connect"].items():
        parent, _, subresource = name.rpartition("/")
        resources[parent]["subresources"][subresource] = {"kind": kind, "of": "v1", "verbs": verbs}
    return resources


def reference_json(name: str) -> list[Any]:
    """Return the document of that name in a list, which is empty where there is no such folder."""
    return [json.loads((REFERENCE / name).read_text())] if REFERENCE is not None else []


def reference_files(pattern: str) -> list[Path]:
    """Return the files of the folder that match, in order; none where there is no such folder."""
    return sorted(REFERENCE.glob(pattern)) if REFERENCE is not None else []
