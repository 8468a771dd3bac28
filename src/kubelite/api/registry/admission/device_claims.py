"""DeviceClaimAccess: who may ask for admin access to devices, allocate them, and report about them.

Kubernetes checks this where it stores resource claims, so nothing turns it off. Words and order are upstream's.
"""

import re
from typing import Any, ClassVar

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.caller import Attributes
from kubelite.api.auth.lookup import Lookup
from kubelite.api.auth.tokens import NODE_NAME
from kubelite.api.errors import Cause, Forbidden
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.machinery import causes
from kubelite.api.registry.admission.request import AdmissionRequest

GROUP = "resource.k8s.io"
LABEL = "resource.kubernetes.io/admin-access"
KINDS = {"resourceclaims": "ResourceClaim", "resourceclaimtemplates": "ResourceClaimTemplate"}

JSON = dict[str, Any]
_SERVICE_ACCOUNT = re.compile(r"system:serviceaccount:[^:]+:[^:]+").fullmatch
_NO_ADMIN = (
    f"admin access to devices requires the `{LABEL}: true` label on the containing namespace"
)


class DeviceClaimAccess:
    """Checks writes of resource claims and their templates."""

    name: ClassVar = "DeviceClaimAccess"

    def __init__(self, lookup: Lookup, authorizer: UnionAuthorizer) -> None:
        self._lookup = lookup
        self._authorizer = authorizer

    async def validate(self, request: AdmissionRequest) -> None:
        """Raise Invalid, with a cause that says Forbidden, for what the caller or the namespace may not do."""
        plural = request.resource.plural
        if request.resource.group != GROUP or plural not in KINDS or request.object is None:
            return
        found: list[Cause] = []
        if request.attributes.subresource == "status" and request.old is not None:
            found = self._status(request, _part(request.object), _part(request.old))
        elif request.old is None:  # a spec never changes
            found = self._spec(request, request.object)
        if found:
            name = (request.object.get("metadata") or {}).get("name", "")
            raise causes.invalid_object(KINDS[plural], GROUP, name, found)

    def _spec(self, request: AdmissionRequest, item: JSON) -> list[Cause]:
        spec = item.get("spec") or {}
        if request.resource.plural == "resourceclaimtemplates":
            spec = spec.get("spec") or {}
        for index, one in enumerate((spec.get("devices") or {}).get("requests") or ()):
            if (one.get("exactly") or {}).get("adminAccess"):
                return self._admin(request, f"spec.devices.requests[{index}].adminAccess")
        return []

    def _admin(self, request: AdmissionRequest, path: str) -> list[Cause]:
        namespace = self._lookup.get(Namespace, request.attributes.namespace)
        if namespace is not None and namespace.metadata.labels.get(LABEL) == "true":
            return []
        return [causes.forbidden(path, _NO_ADMIN)]

    def _status(self, request: AdmissionRequest, new: JSON, old: JSON) -> list[Cause]:
        found: list[Cause] = []
        if _first_admin(old) is None and (index := _first_admin(new)) is not None:
            path = f"status.allocation.devices.results[{index}].adminAccess"
            found += self._admin(request, path)
        found += self._binding(request, new, old)
        if new.get("allocation"):
            found += self._devices(request, new, old)
        return found

    def _binding(self, request: AdmissionRequest, new: JSON, old: JSON) -> list[Cause]:
        """Check the right to allocate devices and to reserve claims."""
        if all((new.get(one) or None) == (old.get(one) or None) for one in _BOUND):
            return []
        verb = request.attributes.verb
        if not (problem := self._problem(request, "binding", verb)):
            return []
        what = f'resource="resourceclaims/binding", verb="{verb}" permission: {problem}'
        text = f"changing status.allocation or status.reservedFor requires {what}"
        return [causes.forbidden("status.allocation", text)]

    def _devices(self, request: AdmissionRequest, new: JSON, old: JSON) -> list[Cause]:
        """Check the right to report for the drivers whose reports change."""
        verb = request.attributes.verb
        verbs = [f"arbitrary-node:{verb}"]
        if _is_on(request, _node_of(new)):
            verbs.insert(0, f"associated-node:{verb}")
        found = []
        for driver in _changed_drivers(new, old):
            namespace = request.attributes.namespace
            problems = [
                self._problem(request, "driver", one, namespace=namespace, name=driver)
                for one in verbs
            ]
            if all(problems):
                shown = f"[{' '.join(verbs)}]"
                what = f'resource="resourceclaims/driver", verb="{shown}" permission: {problems[0]}'
                text = f"changing status.devices requires {what}"
                found.append(causes.forbidden("status.devices", text))
        return found

    def _problem(
        self,
        request: AdmissionRequest,
        subresource: str,
        verb: str,
        *,
        namespace: str = "",
        name: str = "",
    ) -> str:
        """Return why the caller lacks a right, "" if it has it."""
        version, plural = request.attributes.version, "resourceclaims"
        asked = Attributes(verb, GROUP, version, plural, subresource, namespace, name)
        try:
            self._authorizer.authorize(request.caller, asked)
        except Forbidden as error:
            return error.message
        return ""


_BOUND = ("allocation", "reservedFor")


def _part(item: JSON) -> JSON:
    return item.get("status") or {}


def _first_admin(status: JSON) -> int | None:
    """Return the index of the first result with admin access."""
    devices = (status.get("allocation") or {}).get("devices") or {}
    for index, one in enumerate(devices.get("results") or ()):
        if one.get("adminAccess"):
            return index
    return None


def _changed_drivers(new: JSON, old: JSON) -> list[str]:
    """Return the drivers of devices that are reported anew, otherwise or no longer."""
    before, after = ({_key(one): one for one in each.get("devices") or ()} for each in (old, new))
    keys = {*before, *after}
    return sorted({key[0] for key in keys if before.get(key) != after.get(key)})


def _key(device: JSON) -> tuple[str, ...]:
    return tuple(device.get(one) or "" for one in ("driver", "pool", "device", "shareID"))


def _node_of(status: JSON) -> str:
    """Return the node that alone can use the devices of a claim, "" if more can."""
    selector = (status.get("allocation") or {}).get("nodeSelector") or {}
    terms: list[JSON] = selector.get("nodeSelectorTerms") or []
    if len(terms) != 1 or terms[0].get("matchExpressions"):
        return ""
    fields: list[JSON] = terms[0].get("matchFields") or []
    if len(fields) != 1 or (fields[0].get("key"), fields[0].get("operator")) != (
        "metadata.name",
        "In",
    ):
        return ""
    values: list[str] = fields[0].get("values") or []
    return values[0] if len(values) == 1 else ""


def _is_on(request: AdmissionRequest, node: str) -> bool:
    """Return whether the caller is a service account's pod on a node."""
    caller = request.caller
    if not node or _SERVICE_ACCOUNT(caller.user) is None:
        return False
    return tuple(caller.extra.get(NODE_NAME, ())) == (node,)
