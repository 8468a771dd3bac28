"""Defaults of flow schemas and priority levels."""

from __future__ import annotations

from typing import Any

Fields = dict[str, Any]

PRECEDENCE = 1000
SHARES = 30
QUEUING = {"handSize": 8, "queues": 64, "queueLengthLimit": 50}


def default_flow_schema(schema: Fields) -> None:
    """Set the defaults of a flow schema."""
    spec = schema["spec"]
    spec["matchingPrecedence"] = spec["matchingPrecedence"] or PRECEDENCE


def default_priority_level(level: Fields) -> None:
    """Set the defaults of a priority level."""
    spec = level["spec"]
    if (exempt := spec.get("exempt")) is not None:
        exempt.setdefault("nominalConcurrencyShares", 0)
        exempt.setdefault("lendablePercent", 0)
    if (limited := spec.get("limited")) is not None:
        limited.setdefault("nominalConcurrencyShares", SHARES)
        limited.setdefault("lendablePercent", 0)
        if (queuing := limited.get("limitResponse", {}).get("queuing")) is not None:
            for name, value in QUEUING.items():
                queuing[name] = queuing.get(name) or value
