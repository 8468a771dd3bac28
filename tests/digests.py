"""Digests of tables that were compared once with a Kubernetes 1.36 API server; `make golden` rewrites them.

Protobuf numbers and default roles stand in no package the tests could compare with. A line of `facts/digests.txt` that
changes says which role or which API group no longer is what was compared, so look at that change before it is kept.
"""

import hashlib
import json
from typing import Any

from complete_objects import NUMBERS
from reference import FACTS

from kubelite.api.auth.bootstrap_roles import defaults
from kubelite.api.kinds.model import to_wire

GOLDEN = FACTS / "digests.txt"


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def comparable(item: dict[str, Any]) -> dict[str, Any]:
    """Return a role or binding without empty fields, its rules in an order of their own."""
    rules = item.get("rules") or []
    item = {key: value for key, value in item.items() if value not in (None, [])}
    if rules:
        item["rules"] = sorted((dict(sorted(rule.items())) for rule in rules), key=str)
    return item


def default_roles() -> dict[str, dict[str, Any]]:
    """Return Kubernetes' default roles and bindings by kind, namespace and name."""
    made = defaults()
    wires = [to_wire(item) for item in (*made.roles, *made.bindings)]
    return {
        name_of(wire): comparable(wire)
        for wire in wires
        if not wire["metadata"]["name"].startswith("kubelite:")
    }


def name_of(wire: dict[str, Any]) -> str:
    metadata = wire["metadata"]
    return "/".join(filter(None, (wire["kind"], metadata.get("namespace"), metadata["name"])))


def field_numbers() -> dict[str, dict[str, Any]]:
    """Return the field numbers of each message by API group and version."""
    groups: dict[str, dict[str, Any]] = {}
    for message, numbers in NUMBERS.items():
        group, _, name = message.rpartition(".")
        groups.setdefault(group, {})[name] = numbers
    return groups


def golden_digests() -> dict[str, str]:
    """Return the digests as they were when compared."""
    lines = GOLDEN.read_text().splitlines()
    return {name: said for name, _, said in (line.rpartition(" ") for line in lines)}


def golden_lines() -> list[str]:
    tables = {**default_roles(), **field_numbers()}
    return [f"{name} {digest(tables[name])}" for name in sorted(tables)]


if __name__ == "__main__":  # make golden
    GOLDEN.write_text("\n".join(golden_lines()) + "\n")
