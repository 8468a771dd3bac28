"""Conditions of the Gateway API's objects, without their dates; `merged` keeps the dates of those that stay. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kubelite.ingress.gateway_objects import CONTROLLER, GatewayClass

SUPPORTED_FEATURES = (
    "BackendTLSPolicy",
    "BackendTLSPolicySANValidation",
    "Gateway",
    "GatewayHTTPListenerIsolation",
    "GatewayPort8080",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendProtocolWebSocket",
    "HTTPRouteBackendTimeout",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteSchemeRedirect",
    "ReferenceGrant",
)
Condition = Mapping[str, Any]


def condition(
    type_: str, reason: str, message: str, generation: int, *, is_true: bool
) -> dict[str, Any]:
    """Return a condition without a date."""
    return {
        "type": type_,
        "status": "True" if is_true else "False",
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
    }


class Conditions:
    """The conditions of one generation of an object."""

    def __init__(self, generation: int) -> None:
        self._generation = generation
        self.found: list[dict[str, Any]] = []

    def add(self, type_: str, reason: str, message: str = "", *, is_true: bool = True) -> None:
        """Add a condition."""
        self.found.append(condition(type_, reason, message, self._generation, is_true=is_true))


def status_of_class(one: GatewayClass, bundle_version: str) -> dict[str, Any]:
    """Return the status of a class; `bundle_version` is that of the definitions."""
    conditions = Conditions(one.metadata.generation)
    if one.spec.parameters_ref is not None:
        text = "kubelite's classes have no parameters"
        conditions.add("Accepted", "InvalidParameters", text, is_true=False)
    else:
        conditions.add("Accepted", "Accepted")
    is_known = bundle_version.startswith("v1.")
    reason = "SupportedVersion" if is_known else "UnsupportedVersion"
    text = "" if is_known else f"the definitions are of version {bundle_version or 'unknown'}"
    conditions.add("SupportedVersion", reason, text, is_true=is_known)
    return {
        "conditions": conditions.found,
        "supportedFeatures": [{"name": name} for name in SUPPORTED_FEATURES],
    }


def merged(status: Mapping[str, Any], before: Mapping[str, Any], now: str) -> dict[str, Any]:
    """Return a planned status with dates, and with the parents that other controllers wrote."""
    found = dict(status)
    if "conditions" in status:
        found["conditions"] = _dated(status["conditions"], before.get("conditions") or (), now)
    if "listeners" in status:
        known = {one.get("name"): one for one in before.get("listeners") or ()}
        found["listeners"] = [
            _entry(one, known.get(one["name"]), now) for one in status["listeners"]
        ]
    if "parents" in status:
        parents = before.get("parents") or ()
        others = [one for one in parents if one.get("controllerName") != CONTROLLER]
        own = [one for one in parents if one.get("controllerName") == CONTROLLER]
        found["parents"] = others + [
            _entry(
                one,
                next((old for old in own if old.get("parentRef") == one["parentRef"]), None),
                now,
            )
            for one in status["parents"]
        ]
    if "ancestors" in status:
        ancestors = before.get("ancestors") or ()
        others = [one for one in ancestors if one.get("controllerName") != CONTROLLER]
        known = {
            str(one.get("ancestorRef")): one
            for one in ancestors
            if one.get("controllerName") == CONTROLLER
        }
        found["ancestors"] = others + [
            _entry(one, known.get(str(one["ancestorRef"])), now) for one in status["ancestors"]
        ]
    return found


def _entry(one: Mapping[str, Any], before: Mapping[str, Any] | None, now: str) -> dict[str, Any]:
    known = (before or {}).get("conditions") or ()
    return {**one, "conditions": _dated(one["conditions"], known, now)}


def _dated(
    conditions: Sequence[Condition], before: Iterable[Condition], now: str
) -> list[dict[str, Any]]:
    known = {one.get("type"): one for one in before}
    found = []
    for one in conditions:
        old = known.get(one["type"])
        stays = old is not None and old.get("status") == one["status"]
        found.append(
            {**one, "lastTransitionTime": old["lastTransitionTime"] if stays and old else now}
        )
    return found
