"""PolicyParamAccess: whoever has a policy read params must be allowed to read them. Kubernetes checks this in storage.

Otherwise a policy that shows its params in a message would show secrets to its author.
"""

from typing import Any, ClassVar

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.caller import SYSTEM_MASTERS, Attributes, Caller
from kubelite.api.auth.lookup import Lookup
from kubelite.api.errors import APIError
from kubelite.api.kinds.admissionregistration import (
    MutatingAdmissionPolicy,
    ParamKind,
    ValidatingAdmissionPolicy,
)
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery import causes
from kubelite.api.registry.admission.matching import EXEMPT_GROUP
from kubelite.api.registry.admission.policies.params import named
from kubelite.api.registry.admission.refusal import is_main, object_name
from kubelite.api.registry.admission.request import AdmissionRequest
from kubelite.api.registry.table import ResourceTable

JSON = dict[str, Any]
ALL = "*"
_POLICIES = ("validatingadmissionpolicies", "mutatingadmissionpolicies")
# The policies that bindings of a resource name.
_BOUND: dict[str, type[ValidatingAdmissionPolicy | MutatingAdmissionPolicy]] = {
    "validatingadmissionpolicybindings": ValidatingAdmissionPolicy,
    "mutatingadmissionpolicybindings": MutatingAdmissionPolicy,
}


class PolicyParamAccess:
    """Checks writes of policies and bindings against the rights of the caller."""

    name: ClassVar = "PolicyParamAccess"

    def __init__(
        self, lookup: Lookup, resources: ResourceTable, authorizer: UnionAuthorizer
    ) -> None:
        self._lookup = lookup
        self._resources = resources
        self._authorizer = authorizer

    async def validate(self, request: AdmissionRequest) -> None:
        """Check that the caller may read the params; raises Invalid."""
        plural, item = request.resource.plural, request.object
        if item is None or request.resource.group != EXEMPT_GROUP:
            return
        if SYSTEM_MASTERS in request.caller.groups or not is_main(request, plural, EXEMPT_GROUP):
            return
        spec, old = item.get("spec") or {}, (request.old or {}).get("spec") or {}
        if plural in _POLICIES:
            field, refusal = "paramKind", self._policy(request.caller, spec, old)
        elif plural in _BOUND:
            field, refusal = "paramRef", self._binding(request.caller, _BOUND[plural], spec, old)
        else:
            return
        if refusal:
            kind = request.resource.kind
            cause = causes.forbidden(f"spec.{field}", refusal)
            raise _invalid(kind, object_name(request), cause)

    def _policy(self, caller: Caller, spec: JSON, old: JSON) -> str:
        """Return why a policy may not have its paramKind; "" if it may."""
        kind = spec.get("paramKind")
        if not kind or kind == old.get("paramKind"):
            return ""
        api_version, name = kind.get("apiVersion", ""), kind.get("kind", "")
        group, version, plural = self._place(ParamKind(apiVersion=api_version, kind=name))
        attributes = Attributes("get", group, version, plural or ALL, namespace=ALL, name=ALL)
        if self._authorizer.decide(caller, attributes).allowed:
            return ""
        return (
            f'user {_shown(caller)} must have "get" permission on all objects of the referenced paramKind '
            f"(kind={name}, apiVersion={api_version})"
        )

    def _binding(
        self,
        caller: Caller,
        policies: type[ValidatingAdmissionPolicy | MutatingAdmissionPolicy],
        spec: JSON,
        old: JSON,
    ) -> str:
        """Return why a binding may not have its paramRef; "" if it may."""
        reference, name = spec.get("paramRef"), spec.get("policyName", "")
        if not reference or (reference == old.get("paramRef") and name == old.get("policyName")):
            return ""
        policy = self._lookup.get(policies, name)
        kind = None if policy is None else policy.spec.paramKind
        group, version, plural = (ALL, ALL, ALL) if kind is None else self._place(kind)
        verb = "get" if reference.get("name") else "list"
        attributes = Attributes(
            verb,
            group,
            version,
            plural or ALL,
            namespace=reference.get("namespace", ""),
            name=reference.get("name", ""),
        )
        if self._authorizer.decide(caller, attributes).allowed:
            return ""
        user = _shown(caller)
        if policy is not None and plural:
            return f'user {user} does not have "{verb}" permission on the object referenced by paramRef'
        if policy is None:
            what = f"get policy {name}"
        else:
            assert kind is not None
            shown = f"&ParamKind{{APIVersion:{kind.apiVersion},Kind:{kind.kind},}}"
            what = f"resolve paramKind {shown}"
        return (
            f"unable to {what} to determine minimum required permissions and user {user} does not have "
            f'"{verb}" permission for all groups, versions and resources'
        )

    def _place(self, kind: ParamKind) -> tuple[str, str, str]:
        """Return group, version and plural of a kind; the plural is "" if it is not served."""
        meant = named(kind)
        row = self._resources.by_kind(meant)
        return meant.group, meant.version, "" if row is None else row.plural


def _invalid(kind: GroupVersionKind, name: str, cause: Any) -> APIError:
    return causes.invalid_object(kind.kind, kind.group, name, [cause])


def _shown(caller: Caller) -> str:
    """Return a user as upstream prints it."""
    extra = " ".join(f"{key}:[{' '.join(values)}]" for key, values in sorted(caller.extra.items()))
    return f"&{{{caller.user} {caller.uid} [{' '.join(caller.groups)}] map[{extra}]}}"
