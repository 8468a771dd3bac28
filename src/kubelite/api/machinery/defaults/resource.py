"""Defaults of ResourceClaims and ResourceClaimTemplates."""

from __future__ import annotations

from typing import Any

Fields = dict[str, Any]


def default_resource_claim(claim: Fields) -> None:
    """Set the defaults of a claim."""
    _default_claim_spec(claim["spec"])


def default_resource_claim_template(template: Fields) -> None:
    """Set the defaults of a template's claim."""
    _default_claim_spec(template["spec"]["spec"])


def _default_claim_spec(spec: Fields) -> None:
    for request in spec.get("devices", {}).get("requests") or ():
        if "exactly" in request:
            _default_request(request["exactly"])
        for alternative in request.get("firstAvailable", ()):
            _default_request(alternative)


def _default_request(request: Fields) -> None:
    if request.setdefault("allocationMode", "ExactCount") == "ExactCount":
        request.setdefault("count", 1)
