"""Defaults of custom resource definitions and of aggregated APIs."""

from __future__ import annotations

from typing import Any

from kubelite.api.machinery.defaults.admissionregistration import default_service_port

Fields = dict[str, Any]


def default_custom_resource_definition(definition: Fields) -> None:
    """Set the defaults of a definition: names, conversion and stored versions."""
    spec = definition["spec"]
    names, kind = spec["names"], spec["names"]["kind"]
    if kind:
        names.setdefault("singular", kind.lower())
        names.setdefault("listKind", f"{kind}List")
    conversion = spec.setdefault("conversion", {"strategy": "None"})
    default_service_port(conversion.get("webhook", {}).get("clientConfig", {}))
    status = definition["status"]
    if not status.get("storedVersions"):
        stored = [version["name"] for version in spec["versions"] or () if version["storage"]]
        status["storedVersions"] = stored[:1]


def default_api_service(api_service: Fields) -> None:
    """Set the defaults of an aggregated API."""
    default_service_port(api_service["spec"])
