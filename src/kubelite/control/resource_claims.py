"""Creates the claims of dynamic resource allocation that pods want from templates, and ends claims no pod uses.

The scheduler allocates claims and reserves them for pods. A claim whose last pod is over is deallocated, so that its
devices are free for others; one that was made for such a pod is deleted. Names, annotation and events are upstream's.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from msgspec.structs import replace

from kubelite.api.client.events import WARNING
from kubelite.api.errors import APIError, NotFound
from kubelite.api.kinds.core.pods import Pod, PodResourceClaim
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.resource import (
    ResourceClaim,
    ResourceClaimConsumerReference,
    ResourceClaimTemplate,
)
from kubelite.api.machinery.extended_resources import is_extended_claim
from kubelite.api.machinery.resource_claims import (
    CLAIM_ANNOTATION,
    FINALIZER,
    can_be_reserved,
    claim_names,
    claims_of,
    foreign_claim,
    is_reserved_for,
    reservation_for,
)
from kubelite.control.ownership import controlled_by, controller_of, controller_reference
from kubelite.control.pods import is_terminal
from kubelite.control.runtime import Context, Key, Watch
from kubelite.metrics import REGISTRY, Row

CREATES = REGISTRY.counter(
    "resourceclaim_controller_creates_total",
    "Claims that the controller tried to make from templates, by outcome and admin access.",
    ("status", "admin_access"),
)
CLAIMS = REGISTRY.listing(
    "resourceclaim_controller_resource_claims",
    "Resource claims, by whether they are allocated, by admin access, and by source: "
    "resource_claim_template, extended_resource, or nothing for a user's own.",
    ("allocated", "admin_access", "source"),
)
NAME_BASE_MAX: Final = 57  # leaves room for a hyphen and five random characters


class ClaimFailed(Exception):
    """A claim cannot be made; `str()` is upstream's message."""


def needs_claims(pod: Pod) -> bool:
    """Return whether a pod runs or may run."""
    is_unplaced = pod.metadata.deletionTimestamp is not None and not pod.spec.nodeName
    return not is_terminal(pod) and not is_unplaced


def has_admin_access(claim: ResourceClaim) -> str:
    """Return whether a claim asks for admin access, as a label."""
    asked = (one.exactly for one in claim.spec.devices.requests)
    return "true" if any(one is not None and one.adminAccess for one in asked) else "false"


def counted(claims: Iterable[ResourceClaim]) -> list[Row]:
    """Return how many claims there are, by the labels of `CLAIMS`."""
    labels = (
        (
            "true" if one.status.allocation is not None else "false",
            has_admin_access(one),
            _source(one),
        )
        for one in claims
    )
    return [(values, float(count)) for values, count in Counter(labels).items()]


def _source(claim: ResourceClaim) -> str:
    if is_extended_claim(claim):
        return "extended_resource"
    return "resource_claim_template" if claim.metadata.annotations.get(CLAIM_ANNOTATION) else ""


def name_base(pod_name: str, claim_name: str) -> str:
    """Return what the name of a claim begins with: of pod and entry so much that both can be told."""
    base = f"{pod_name}-{claim_name}-"
    if len(base) <= NAME_BASE_MAX:
        return base
    pod_part = pod_name[: len(pod_name) * NAME_BASE_MAX // len(base)]
    return f"{pod_part}-{claim_name[: len(claim_name) * NAME_BASE_MAX // len(base)]}"


def claim_for(pod: Pod, entry: PodResourceClaim, template: ResourceClaimTemplate) -> ResourceClaim:
    """Return the claim to create for an entry of a pod, which controls it."""
    meta = template.spec.metadata
    return ResourceClaim(
        metadata=ObjectMeta(
            generateName=name_base(pod.metadata.name, entry.name),
            namespace=pod.metadata.namespace,
            labels=meta.labels,
            annotations={**meta.annotations, CLAIM_ANNOTATION: entry.name},
            ownerReferences=[controller_reference(pod)],
        ),
        spec=template.spec.spec,
    )


class ResourceClaimController:
    """Reconciles pods with resource claims."""

    name = "resource-claim-controller"
    workers = 2

    def __init__(self, context: Context) -> None:
        self._context = context
        self._pods = context.mirror(Pod)
        self._claims = context.mirror(ResourceClaim)
        self._templates = context.mirror(ResourceClaimTemplate)
        self._pods.add_index("resource-claim-template", _template_keys)
        CLAIMS.read = self._count
        context.ends.append(self._count_no_more)

    def _count(self) -> Iterable[Row]:
        return counted(self._claims.list())

    def _count_no_more(self) -> None:
        if CLAIMS.read == self._count:
            CLAIMS.read = None

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch pods with claims, the claims that were made for them, and templates that they wait for."""
        return (
            Watch(Pod, where=_has_claims),
            Watch(ResourceClaim, controlled_by(Pod)),
            Watch(ResourceClaimTemplate, self._waiting),
        )

    def _waiting(self, template: ResourceClaimTemplate) -> Iterable[Key]:
        key = f"{template.metadata.namespace}/{template.metadata.name}"
        for pod in self._pods.indexed("resource-claim-template", key):
            yield Key(pod.metadata.namespace, pod.metadata.name)

    async def reconcile(self, key: Key) -> float | None:
        """Create missing claims, write their names into the pod's status, and reserve claims for a bound pod."""
        pod = self._pods.get(key.name, key.namespace)
        if pod is None or pod.metadata.deletionTimestamp is not None or not needs_claims(pod):
            return None
        made: dict[str, str] = {}
        for entry in pod.spec.resourceClaims:
            try:
                if name := await self._ensure(pod, entry):
                    made[entry.name] = name
            except (APIError, ClaimFailed) as error:
                text = error.message if isinstance(error, APIError) else str(error)
                message = f"PodResourceClaim {entry.name}: {text}"
                self._context.events.event(pod, WARNING, "FailedResourceClaimCreation", message)
                raise
        if made:
            pod = await self._record(pod, made)
        if pod.spec.nodeName:
            await self._reserve(pod)
        return None

    async def _ensure(self, pod: Pod, entry: PodResourceClaim) -> str:
        """Create the claim of an entry if it is missing; return its name if the status lacks it."""
        if entry.resourceClaimTemplateName is None:
            return ""
        namespace = pod.metadata.namespace
        known = claim_names(pod).get(entry.name)
        if known == "":
            return ""  # none is needed
        if known is not None:
            claim = self._claims.get(known, namespace)
            if claim is not None and not foreign_claim(pod, claim):
                return ""
        for claim in self._claims.list(namespace):
            if claim.metadata.annotations.get(CLAIM_ANNOTATION) == entry.name and not foreign_claim(
                pod, claim
            ):
                return claim.metadata.name
        template = self._templates.get(entry.resourceClaimTemplateName, namespace)
        if template is None:
            name = entry.resourceClaimTemplateName
            raise ClaimFailed(
                f'resource claim template "{name}": resourceclaimtemplate.resource.k8s.io "{name}" '
                "not found"
            )
        # The mirror may lag behind a claim that was just made, so ask before making a second one.
        for claim in await self._context.client.list(ResourceClaim, namespace):
            if claim.metadata.annotations.get(CLAIM_ANNOTATION) == entry.name and not foreign_claim(
                pod, claim
            ):
                return claim.metadata.name
        wanted = claim_for(pod, entry, template)
        try:
            created = await self._context.client.create(wanted)
        except APIError:
            CREATES.labelled("failure", has_admin_access(wanted)).increase()
            raise
        CREATES.labelled("success", has_admin_access(wanted)).increase()
        return created.metadata.name

    async def _record(self, pod: Pod, made: dict[str, str]) -> Pod:
        statuses = [{"name": name, "resourceClaimName": claim} for name, claim in made.items()]
        return await self._context.client.patch(
            Pod,
            pod.metadata.name,
            {"metadata": {"uid": pod.metadata.uid}, "status": {"resourceClaimStatuses": statuses}},
            pod.metadata.namespace,
            patch_type="strategic",
            subresource="status",
        )

    async def _reserve(self, pod: Pod) -> None:
        """Reserve allocated claims for a pod that was bound without the scheduler."""
        for name in claim_names(pod).values():
            claim = self._claims.get(name, pod.metadata.namespace) if name else None
            if (
                claim is None
                or claim.status.allocation is None
                or is_reserved_for(pod, claim)
                or not can_be_reserved(claim)
            ):
                continue
            reserved = [*claim.status.reservedFor, reservation_for(pod)]
            status = replace(claim.status, reservedFor=reserved)
            await self._context.client.update(replace(claim, status=status), "status")


class ClaimReleaseController:
    """Reconciles resource claims: removes reservations of pods that are over, and what only they needed."""

    name = "resource-claim-release-controller"
    identity = "resource-claim-controller"
    workers = 2

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._pods = context.mirror(Pod)
        self._claims = context.mirror(ResourceClaim)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch claims, and the ends of pods that may have some."""
        return (Watch(ResourceClaim), Watch(Pod, _claims_of, where=_ended))

    async def reconcile(self, key: Key) -> float | None:
        """Bring one claim to what its pods still need. Conflicts are retried."""
        claim = self._claims.get(key.name, key.namespace)
        if claim is None:
            return None
        before = claim.status.reservedFor
        remaining = [one for one in before if await self._is_valid(claim, one)]
        is_deleted = claim.metadata.deletionTimestamp is not None
        is_ours = FINALIZER in claim.metadata.finalizers
        if len(remaining) < len(before):
            # An update, so that it fails if anything changed meanwhile.
            claim = await self._update(claim, remaining, deallocate=is_ours and not remaining)
            await self._unguard(claim)
        elif is_ours and is_deleted and not remaining:
            if claim.status.allocation is not None:
                claim = await self._update(claim, remaining, deallocate=True)
            await self._unguard(claim)
        if not remaining and not is_deleted:
            await self._delete_unused(claim)
        return None

    async def _is_valid(
        self, claim: ResourceClaim, consumer: ResourceClaimConsumerReference
    ) -> bool:
        """Return whether a reservation is still needed; that of an unknown consumer is."""
        if consumer.apiGroup or consumer.resource != "pods":
            return True
        namespace = claim.metadata.namespace
        pod = self._pods.get(consumer.name, namespace)
        if pod is None:
            # The mirror may lag behind, and a pod that is being scheduled must keep its claim.
            try:
                pod = await self._client.get(Pod, consumer.name, namespace)
            except NotFound:
                return False
        return pod.metadata.uid == consumer.uid and needs_claims(pod)

    async def _update(
        self,
        claim: ResourceClaim,
        remaining: list[ResourceClaimConsumerReference],
        *,
        deallocate: bool,
    ) -> ResourceClaim:
        status = replace(claim.status, reservedFor=remaining)
        if deallocate:
            status = replace(status, allocation=None, devices=[])
        return await self._client.update(replace(claim, status=status), "status")

    async def _unguard(self, claim: ResourceClaim) -> None:
        """Remove the finalizer of a claim that has no devices."""
        meta = claim.metadata
        if FINALIZER not in meta.finalizers or claim.status.allocation is not None:
            return
        others = [name for name in meta.finalizers if name != FINALIZER]
        await self._client.update(replace(claim, metadata=replace(meta, finalizers=others)))

    async def _delete_unused(self, claim: ResourceClaim) -> None:
        """Delete a claim whose pod is over; that of a pod that is gone the garbage collector deletes."""
        meta = claim.metadata
        owner = controller_of(meta)
        if owner is None or (owner.apiVersion, owner.kind) != ("v1", "Pod"):
            return
        pod = self._pods.get(owner.name, meta.namespace)
        if pod is None or (pod.metadata.uid == owner.uid and needs_claims(pod)):
            return
        try:
            await self._client.delete(ResourceClaim, meta.name, meta.namespace, uid=meta.uid)
        except NotFound:
            return


def _has_claims(_before: Pod | None, after: Pod | None) -> bool:
    return after is not None and bool(after.spec.resourceClaims)


def _ended(_before: Pod | None, after: Pod | None) -> bool:
    return after is None or not needs_claims(after)


def _claims_of(pod: Pod) -> Iterable[Key]:
    for name in claims_of(pod):
        yield Key(pod.metadata.namespace, name)


def _template_keys(pod: Pod) -> Sequence[str]:
    return [
        f"{pod.metadata.namespace}/{entry.resourceClaimTemplateName}"
        for entry in pod.spec.resourceClaims
        if entry.resourceClaimTemplateName
    ]
