"""Pods that no API server has seen, as those of a node's manifest folder: given their form, defaults and checks."""

from typing import Any

import msgspec

from kubelite.api.errors import APIError
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery import names
from kubelite.api.machinery.causes import TooManyCauses
from kubelite.api.machinery.defaults.pods import default_pod
from kubelite.api.machinery.shaping.go import GoShape
from kubelite.api.registry.admission.node_restriction import api_reference
from kubelite.api.registry.rules import pods
from kubelite.api.registry.rules.metadata import metadata
from kubelite.api.registry.rules.values import Out
from kubelite.api.registry.strategies.pods import quality_of_service

_SHAPE = GoShape(Pod, default_pod)


class UnusableManifest(ValueError):
    """A manifest is no pod that a node may run by itself; `str()` is the reason."""


def complete_pod(body: dict[str, Any]) -> Pod:
    """Return a pod as an API server would store it, without admission; `body` is consumed.

    Raises UnusableManifest, also for a pod that refers to objects of the API, which a node must be able to do without.
    """
    try:
        _SHAPE.receive(body)
    except APIError as error:
        raise UnusableManifest(f"couldn't parse as pod({error.message})") from error
    if invalid := _invalid(body):
        raise UnusableManifest(f"invalid pod: {invalid}")
    if resource := api_reference(body["spec"]):
        raise UnusableManifest(f"static pods may not reference {resource}")
    body["status"] = {"phase": "Pending", "qosClass": quality_of_service(body["spec"])}
    return msgspec.convert(body, Pod)


def _invalid(body: dict[str, Any]) -> str:
    """Return what is wrong with a pod, "" for nothing."""
    out = Out()
    try:
        metadata(out, body, names.dns_subdomain, namespaced=True)
        out.extend(pods.validate(body))
    except TooManyCauses as error:
        out = Out(error.found)
    return ", ".join(f"{cause.path}: {cause.message}" for cause in out)
