"""Defaults of kinds that have but one."""

from __future__ import annotations

from typing import Any


def default_priority_class(priority_class: dict[str, Any]) -> None:
    """Fill in a priority class."""
    priority_class.setdefault("preemptionPolicy", "PreemptLowerPriority")


def default_token_request(request: dict[str, Any]) -> None:
    """Fill in a request for a token: it holds for an hour."""
    request["spec"].setdefault("expirationSeconds", 3600)
