"""Defaults of role bindings."""

from __future__ import annotations

from typing import Any

GROUP = "rbac.authorization.k8s.io"


def default_binding(binding: dict[str, Any]) -> None:
    """Fill in the groups of a role and of the users and groups it is bound to."""
    reference = binding["roleRef"]
    if not reference.get("apiGroup"):
        reference["apiGroup"] = GROUP
    for subject in binding.get("subjects", ()):
        if subject.get("kind") in {"User", "Group"}:
            subject.setdefault("apiGroup", GROUP)
