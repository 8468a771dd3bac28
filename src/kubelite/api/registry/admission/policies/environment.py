"""What the expressions of a policy see of a request: the values of their variables."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, to_builtins
from msgspec.structs import replace

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.caller import AUTHENTICATED, Attributes, Caller
from kubelite.api.auth.lookup import Lookup
from kubelite.api.errors import NotFound
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.admission_expressions import (
    AUTHORIZER,
    NAMESPACE,
    OBJECT,
    OLD_OBJECT,
    PARAMS,
    REQUEST,
    REQUEST_RESOURCE,
)
from kubelite.api.machinery.causes import quoted
from kubelite.api.registry.admission.replacing import converted
from kubelite.api.registry.admission.request import AdmissionRequest
from kubelite.api.registry.admission.review import Meant, asked_of
from kubelite.api.registry.table import ResourceTable
from kubelite.cel.libraries.authz import (
    Answer,
    AuthorizerValue,
    ResourceCheck,
    ResourceRequest,
)
from kubelite.offload import Offload

JSON = dict[str, Any]
ANY_VERSION = "*"
_HIDDEN = ("managedFields", "ownerReferences", "selfLink")


class Inputs(Struct, frozen=True):
    """What the expressions of one policy see of one request, with one params object."""

    object: JSON | None
    old: JSON | None
    request: JSON
    namespace: JSON | None = None
    params: JSON | None = None
    decisions: "Decisions | None" = None  # None: no authorizer

    def with_params(self, params: JSON | None) -> "Inputs":
        """Return the same inputs with other params."""
        return replace(self, params=params)

    def with_object(self, item: JSON | None) -> "Inputs":
        """Return the same inputs with another object."""
        return replace(self, object=item)

    def variables(self, *, has_authorizer: bool = True, has_namespace: bool = True) -> JSON:
        """Return the values of the variables by their names."""
        found: JSON = {
            OBJECT: self.object,
            OLD_OBJECT: self.old,
            REQUEST: self.request,
            NAMESPACE: self.namespace if has_namespace else None,
            PARAMS: self.params,
        }
        if has_authorizer and self.decisions is not None:
            found[AUTHORIZER] = AuthorizerValue(self.decisions.authorizer)
            found[REQUEST_RESOURCE] = self.decisions.request_resource
        return found


class Undecided(Exception):
    """An expression off the loop needs a decision that only the loop can make."""

    def __init__(self, caller: Caller, attributes: Attributes) -> None:
        super().__init__("not decided yet")
        self.caller = caller
        self.attributes = attributes


class Decisions:
    """The decisions of authorization that the expressions of one request have asked for; each is made once.

    The authorizer reads what the loop changes, so off the loop a decision that is not known raises Undecided.
    """

    def __init__(self, authorizer: UnionAuthorizer, request: AdmissionRequest) -> None:
        self._authorizer = authorizer
        self._known: dict[tuple[str, tuple[str, ...], Attributes], Answer] = {}
        self.is_on_loop = True
        asked = request.attributes
        self.authorizer = _Authorizer(self, request.caller)
        self.request_resource = ResourceCheck(
            self.authorizer,
            ResourceRequest(
                group=asked.group,
                resource=asked.resource,
                subresource=asked.subresource,
                namespace=asked.namespace,
                name=asked.name,
            ),
        )

    def decide(self, caller: Caller, attributes: Attributes) -> Answer:
        """Return the decision; raises Undecided."""
        key = (caller.user, caller.groups, attributes)
        answer = self._known.get(key)
        if answer is None:
            if not self.is_on_loop:
                raise Undecided(caller, attributes)
            decision = self._authorizer.decide(caller, attributes)
            answer = self._known[key] = Answer(decision.allowed, decision.reason)
        return answer


class _Authorizer:
    """Decides what one user may do."""

    def __init__(self, decisions: Decisions, caller: Caller) -> None:
        self._decisions = decisions
        self._caller = caller

    def may_request(self, request: ResourceRequest, verb: str) -> Answer:
        """Decide on a verb on a resource."""
        attributes = Attributes(
            verb=verb,
            group=request.group,
            version=ANY_VERSION,
            resource=request.resource,
            subresource=request.subresource,
            namespace=request.namespace,
            name=request.name,
            field_selector=request.field_selector,
            label_selector=request.label_selector,
        )
        return self._decisions.decide(self._caller, attributes)

    def may_visit(self, path: str, verb: str) -> Answer:
        """Decide on an HTTP verb on a path that is no resource."""
        return self._decisions.decide(self._caller, Attributes(verb=verb, path=path))

    def of_service_account(self, namespace: str, name: str) -> "_Authorizer":
        """Return the authorizer of a service account."""
        groups = (
            "system:serviceaccounts",
            f"system:serviceaccounts:{namespace}",
            AUTHENTICATED,
        )
        caller = Caller(f"system:serviceaccount:{namespace}:{name}", groups)
        return _Authorizer(self._decisions, caller)


def meant_by(
    found: tuple[str, str, str], request: AdmissionRequest, resources: ResourceTable
) -> Meant:
    """Return the form of a request at the resource (group, version, plural) as which a rule matched it."""
    asked = request.attributes
    row = resources.find(*found)
    if found == (asked.group, asked.version, asked.resource) or row is None:
        return Meant(request.kind, found)
    kind: GroupVersionKind = row.kind if request.kind == request.served.kind else request.kind
    return Meant(kind, found)


class Versions:
    """The objects of one request in the versions that policies want, each converted once."""

    def __init__(
        self, request: AdmissionRequest, resources: ResourceTable, offload: Offload
    ) -> None:
        self._offload = offload
        self._request = request
        self._resources = resources
        self._known: dict[tuple[str, str, str], tuple[JSON | None, JSON | None]] = {}

    async def objects(self, meant: Meant) -> tuple[JSON | None, JSON | None]:
        """Return the object and the old object; never change them. Raises what a conversion raises."""
        found = self._known.get(meant.resource)
        if found is None:
            request = self._request
            found = (
                await self.shown(meant, request.object),
                await self.shown(meant, request.old),
            )
            self._known[meant.resource] = found
        return found

    def forget(self) -> None:
        """Forget the objects, since one of them has changed."""
        self._known.clear()

    async def shown(self, meant: Meant, item: JSON | None) -> JSON | None:
        """Return an object in the form that is meant; it shares its parts with `item` where that has this form."""
        request = self._request
        if item is None or request.form is not None:
            return item
        row = self._resources.find(*meant.resource) or request.served
        if row is not request.resource:
            item = (await converted(request.resource, row, item, self._offload)).item
        subresource = row.subresources.get(request.attributes.subresource)
        if subresource is not None and subresource.projection is not None:
            return subresource.projection.read(item)
        return {**item, "apiVersion": row.api_version, "kind": row.kind.kind}


def namespace_of(request: AdmissionRequest, lookup: Lookup) -> JSON | None:
    """Return the namespace of a request as expressions see it; None: it is in none. Raises NotFound."""
    name = request.attributes.namespace
    kind = request.kind
    if not name or (kind.group, kind.version, kind.kind) == ("", "v1", "Namespace"):
        return None
    found = lookup.get(Namespace, name)
    if found is None:
        raise NotFound(f"namespaces {quoted(name)} not found", kind="namespaces", name=name)
    shown: JSON = to_builtins(found)
    metadata: Mapping[str, Any] = shown.get("metadata") or {}
    return {
        "metadata": {key: value for key, value in metadata.items() if key not in _HIDDEN},
        "spec": shown.get("spec") or {},
        "status": shown.get("status") or {},
    }


def inputs_of(
    request: AdmissionRequest,
    meant: Meant,
    objects: tuple[JSON | None, JSON | None],
    namespace: JSON | None,
    decisions: Decisions | None,
) -> Inputs:
    """Return what expressions see of a request, before params are known."""
    asked = {**asked_of(request, meant), "object": None, "oldObject": None, "uid": ""}
    return Inputs(objects[0], objects[1], asked, namespace, None, decisions)
