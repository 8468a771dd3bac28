"""OwnerReferencesPermissionEnforcement: changing owners requires the right to delete. Off by default, as upstream."""

from typing import Any, ClassVar

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.caller import Attributes
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.registry.admission.refusal import forbidden, metadata
from kubelite.api.registry.admission.request import AdmissionRequest, Verb
from kubelite.api.registry.table import ResourceTable

FINALIZE_ANYTHING = Attributes("update", "*", "*", "*", "finalizers", name="*")


class OwnerReferencesPermissionEnforcement:
    """Rejects owner references by which garbage collection would act beyond the rights of the caller."""

    name: ClassVar = "OwnerReferencesPermissionEnforcement"

    def __init__(self, authorizer: UnionAuthorizer, resources: ResourceTable) -> None:
        self._authorizer = authorizer
        self._resources = resources

    async def validate(self, request: AdmissionRequest) -> None:
        """Check changed owner references; raises Forbidden."""
        if request.object is None or (request.resource.plural, request.attributes.subresource) == (
            "pods",
            "status",
        ):
            return
        before, after = _owners(request.old or {}), _owners(request.object)
        if before == after:
            return
        attributes = request.attributes
        if request.operation is not Verb.CREATE:
            delete = Attributes(
                "delete",
                attributes.group,
                attributes.version,
                attributes.resource,
                attributes.subresource,
                attributes.namespace,
                attributes.name,
            )
            decision = self._authorizer.decide(request.caller, delete)
            if not decision.allowed:
                reason = f"cannot set an ownerRef on a resource you can't delete: {decision.reason}, <nil>"
                raise forbidden(request, reason)
        blocked = {owner.get("uid") for owner in before if owner.get("blockOwnerDeletion")}
        added = [o for o in after if o.get("blockOwnerDeletion") and o.get("uid") not in blocked]
        if added and not self._authorizer.decide(request.caller, FINALIZE_ANYTHING).allowed:
            for owner in added:
                self._check_finalizers(request, owner)

    def _check_finalizers(self, request: AdmissionRequest, owner: dict[str, Any]) -> None:
        group, _, version = owner.get("apiVersion", "").rpartition("/")
        kind = owner.get("kind", "")
        resource = self._resources.by_kind(GroupVersionKind(group, version, kind))
        if resource is None:
            raise forbidden(
                request,
                "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion "
                f'{owner.get("apiVersion")} Kind {kind}: no matches for kind "{kind}" in version '
                f'"{owner.get("apiVersion")}"',
            )
        namespace = request.attributes.namespace if resource.namespaced else ""
        name = owner.get("name", "")
        update = Attributes(
            "update", group, version, resource.plural, "finalizers", namespace, name
        )
        decision = self._authorizer.decide(request.caller, update)
        if not decision.allowed:
            raise forbidden(
                request,
                "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers "
                f"on: {decision.reason}, <nil>",
            )


def _owners(item: dict[str, Any]) -> list[dict[str, Any]]:
    return metadata(item).get("ownerReferences") or []
