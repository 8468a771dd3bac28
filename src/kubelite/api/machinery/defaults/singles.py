"""Defaults of kinds with a single default."""

from __future__ import annotations

from typing import Any


def default_priority_class(priority_class: dict[str, Any]) -> None:
    """Set the defaults of a priority class."""
    priority_class.setdefault("preemptionPolicy", "PreemptLowerPriority")


def default_token_request(request: dict[str, Any]) -> None:
    """Set the defaults of a token request: valid for an hour."""
    request["spec"].setdefault("expirationSeconds", 3600)
