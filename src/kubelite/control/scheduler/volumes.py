"""Whether a pod's claims allow a node, and what must be written before the pod can be bound there."""

import asyncio
from collections.abc import Sequence, Set
from typing import Any

from msgspec import Struct, to_builtins

from kubelite.api.client.protocol import Client, Mirror
from kubelite.api.errors import Conflict, NotFound
from kubelite.api.kinds.core.persistent_volumes import PersistentVolume, PersistentVolumeClaim
from kubelite.api.kinds.storage import StorageClass
from kubelite.api.machinery.local_volumes import PROVISIONER_NAME, storage_room
from kubelite.api.machinery.node_matching import TermMatcher
from kubelite.api.machinery.pod_claims import foreign_claim
from kubelite.api.machinery.quantity import parse_quantity
from kubelite.control.scheduler.csi_limits import (
    NO_SPACE,
    TOO_MANY_VOLUMES,
    CSIFacts,
    CSIVolume,
    csi_volume,
    exceeds,
    future_volume,
    is_allowed,
    limits_of,
)
from kubelite.control.scheduler.filters import Rejection
from kubelite.control.scheduler.node_info import NodeInfo, Snapshot
from kubelite.control.scheduler.pod_info import PodInfo
from kubelite.control.scheduler.steps import Steps
from kubelite.control.volume_matching import (
    BOUND_BY_CONTROLLER,
    NO_PROVISIONER,
    SELECTED_NODE,
    class_of,
    is_candidate,
    rank,
    reference_to_claim,
)

BIND_TIMEOUT_SECONDS = 600.0
SELECT_ATTEMPTS = 5  # to write the selected node of a claim that others write too
VOLUMES_A_STEP = 100
NODE_CONFLICT = Rejection(
    "VolumeBinding",
    ["node(s) didn't match PersistentVolume's node affinity"],
    resolvable=False,
)
NO_VOLUME = Rejection(
    "VolumeBinding",
    ["node(s) didn't find available persistent volumes to bind"],
    resolvable=False,
)
ONE_POD_ONLY = (
    "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode "
    "already in-use by another pod"
)


ClaimKey = tuple[str, str]  # namespace and name


class ProvisioningFailed(Exception):
    """A provisioner gave up on the node that was selected; the message names the claim."""


class Preparation(Struct, frozen=True):
    """The writes that make unbound claims find their volume for a node."""

    bind: tuple[tuple[PersistentVolume, PersistentVolumeClaim], ...] = ()
    provision: tuple[PersistentVolumeClaim, ...] = ()


class VolumeState:
    """The claims of one pod: those bound, and those that wait for a node."""

    def __init__(self, info: PodInfo, snapshot: Snapshot, volumes: "Volumes") -> None:
        self.failure = ""
        self._volumes = volumes
        self._claims: list[PersistentVolumeClaim] = []
        self._bound: list[PersistentVolume] = []
        self._waiting: list[PersistentVolumeClaim] = []
        self._fitting: list[list[PersistentVolume]] = []  # for each of these, once found
        self._terms: dict[str, tuple[TermMatcher, ...]] = {}
        for name in info.claims:
            self.failure = self.failure or self._read(info, name, snapshot)

    def _read(self, info: PodInfo, name: str, snapshot: Snapshot) -> str:
        """Sort one claim in; return why no node will do, or nothing."""
        claim = self._volumes.claims.get(name, info.namespace)
        if claim is None:
            return f'persistentvolumeclaim "{name}" not found'
        self._claims.append(claim)
        if name in info.own_claims and (refusal := foreign_claim(info.pod, claim)):
            return refusal
        if claim.metadata.deletionTimestamp is not None:
            return f'persistentvolumeclaim "{name}" is being deleted'
        if claim.status.phase == "Lost":
            return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{claim.spec.volumeName}"'
        if "ReadWriteOncePod" in claim.spec.accessModes and _is_used(info, name, snapshot):
            return ONE_POD_ONLY
        if claim.spec.volumeName:
            volume = self._volumes.volumes.get(claim.spec.volumeName)
            if volume is None:
                return "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
            self._bound.append(volume)
        elif self._volumes.waits_for_consumer(claim):
            self._waiting.append(claim)
        else:
            return "pod has unbound immediate PersistentVolumeClaims"
        return ""

    def is_current(self) -> bool:
        """Return whether the claims, and the volumes bound to them, are still as they were read."""
        claims, volumes = self._volumes.claims, self._volumes.volumes
        return all(
            claims.get(one.metadata.name, one.metadata.namespace) is one for one in self._claims
        ) and all(volumes.get(one.metadata.name) is one for one in self._bound)

    @property
    def steps(self) -> int:
        """About how many steps it takes to judge one node."""
        capacities = (self._volumes.csi.steps(class_of(claim)) for claim in self._waiting)
        return len(self._bound) + sum(map(len, self._fitting)) + sum(capacities)

    def rejection(self, node: NodeInfo) -> Rejection | None:
        """Return why the pod's volumes cannot be had on a node, or None."""
        if self._exceeds_limits(node):
            return TOO_MANY_VOLUMES
        if not all(self._reachable(volume, node) for volume in self._bound):
            return NODE_CONFLICT
        prepared = self._prepared(node)
        return prepared if isinstance(prepared, Rejection) else None

    def _exceeds_limits(self, node: NodeInfo) -> bool:
        """Return whether the node would have more volumes attached than a CSI driver can attach there."""
        limits = limits_of(self._volumes.csi.nodes.get(node.name))
        if not limits:
            return False
        new = [known for one in self._bound if (known := csi_volume(one)) is not None]
        new += [known for one in self._waiting if (known := self._volumes.future(one)) is not None]
        return bool(new) and exceeds(limits, new, self._volumes.used(node))

    def find_volumes(self) -> Steps[None]:
        """Find the free volumes that each waiting claim may have on some node, the best first."""
        for claim in self._waiting:
            candidates = self._volumes.volumes.list()
            fitting = []
            for start in range(0, len(candidates), VOLUMES_A_STEP):
                some = candidates[start : start + VOLUMES_A_STEP]
                fitting += [volume for volume in some if is_candidate(volume, claim)]
                yield 5 * len(some)
            fitting.sort(key=lambda volume: rank(volume, claim))
            self._fitting.append(fitting)

    def preparation(self, node: NodeInfo) -> Preparation | None:
        """Return what must be written before the pod is bound to a node; None if a claim finds no volume there."""
        prepared = self._prepared(node)
        return None if isinstance(prepared, Rejection) else prepared

    def _prepared(self, node: NodeInfo) -> Preparation | Rejection:
        bind: list[tuple[PersistentVolume, PersistentVolumeClaim]] = []
        provision: list[PersistentVolumeClaim] = []
        taken: set[str] = set()
        for claim, fitting in zip(self._waiting, self._fitting, strict=True):
            if selected := _selected(claim):
                # Its provisioner may be creating a volume there already, so no other node will do.
                if selected != node.name:
                    return NO_VOLUME
                provision.append(claim)
                continue
            reachable = (
                volume
                for volume in fitting
                if volume.metadata.name not in taken and self._reachable(volume, node)
            )
            volume = next(reachable, None)
            if volume is not None:
                taken.add(volume.metadata.name)
                bind.append((volume, claim))
            elif not self._volumes.is_provisioned(claim, node):
                return NO_VOLUME
            elif not self._volumes.has_space(claim, node):
                return NO_SPACE
            else:
                provision.append(claim)
        return Preparation(bind=tuple(bind), provision=tuple(provision))

    def _reachable(self, volume: PersistentVolume, node: NodeInfo) -> bool:
        affinity = volume.spec.nodeAffinity
        if affinity is None or affinity.required is None:
            return True
        name = volume.metadata.name
        terms = self._terms.get(name)
        if terms is None:
            asked = affinity.required.nodeSelectorTerms
            terms = self._terms[name] = tuple(TermMatcher(one) for one in asked)
        return any(one.matches(node.name, node.labels) for one in terms)


class Volumes:
    """The mirrors of all that has to do with volumes, and the writes of a preparation."""

    def __init__(self, mirrors: Client) -> None:
        self.claims = mirrors.mirror(PersistentVolumeClaim)
        self.volumes = mirrors.mirror(PersistentVolume)
        self.classes = mirrors.mirror(StorageClass)
        self.csi = CSIFacts(mirrors)

    @property
    def mirrors(self) -> tuple[Mirror[Any], ...]:
        """All that has to be synced first, and whose changes may make a pod schedulable."""
        csi = self.csi
        return (
            *(self.claims, self.volumes, self.classes),
            *(csi.nodes, csi.drivers, csi.attachments, csi.capacities),
        )

    def waits_for_consumer(self, claim: PersistentVolumeClaim) -> bool:
        """Tell whether the claim is bound only when a pod needs it."""
        found = self.classes.get(class_of(claim))
        return found is not None and found.volumeBindingMode == "WaitForFirstConsumer"

    def is_provisioned(self, claim: PersistentVolumeClaim, node: NodeInfo) -> bool:
        """Return whether a provisioner creates volumes of the claim's class for a node."""
        found = self.classes.get(class_of(claim))
        if found is None or found.provisioner == NO_PROVISIONER:
            return False
        return is_allowed(found, node.labels)

    def has_space(self, claim: PersistentVolumeClaim, node: NodeInfo) -> bool:
        """Return whether the storage that a node reaches has room for a claim, as far as its driver tells."""
        found = self.classes.get(class_of(claim))
        if found is None:
            return True
        if found.provisioner == PROVISIONER_NAME:
            room = None if node.node is None else storage_room(node.node)
            wanted = claim.spec.resources.requests.get("storage", "0")
            return room is None or parse_quantity(wanted).value() <= room
        return self.csi.has_space(claim, found, node)

    def future(self, claim: PersistentVolumeClaim) -> CSIVolume | None:
        """Return the volume that will be provisioned for an unbound claim; None without a provisioner."""
        found = self.classes.get(class_of(claim))
        if found is None or found.provisioner == NO_PROVISIONER:
            return None
        return future_volume(claim, found)

    def used(self, node: NodeInfo) -> dict[str, str]:
        """Return the CSI volumes of a node's pods and attachments: drivers by unique name."""
        found = dict(self.csi.attached(node.name, self.volumes))
        for info in node.pods.values():
            for name in info.claims:
                claim = self.claims.get(name, info.namespace)
                if claim is None:
                    continue
                volume = self.volumes.get(claim.spec.volumeName) if claim.spec.volumeName else None
                known = csi_volume(volume) if volume is not None else self.future(claim)
                if known is not None:
                    found[known[0]] = known[1]
        return found

    async def prepare(self, client: Client, decided: Preparation, node: str) -> None:
        """Write what makes the claims find their volumes. Raises APIError and ProvisioningFailed."""
        for volume, claim in decided.bind:
            await client.patch(
                PersistentVolume,
                volume.metadata.name,
                {
                    "metadata": {
                        "resourceVersion": volume.metadata.resourceVersion,
                        "annotations": {BOUND_BY_CONTROLLER: "yes"},
                    },
                    "spec": {"claimRef": to_builtins(reference_to_claim(claim))},
                },
            )
        for claim in decided.provision:
            await self._select(client, *_key(claim), node)

    async def wait_bound(self, decided: Preparation, node: str) -> None:
        """Wait until all claims are bound.

        Raises TimeoutError, NotFound if a claim is deleted, and ProvisioningFailed.
        """
        waiting = [*(claim for _, claim in decided.bind), *decided.provision]
        async with asyncio.timeout(BIND_TIMEOUT_SECONDS):
            await self._bound(waiting, {_key(claim) for claim in decided.provision}, node)

    async def _select(self, client: Client, namespace: str, name: str, node: str) -> None:
        """Write the node to provision for, unless another pod of the claim was given another node meanwhile."""
        for attempt in range(SELECT_ATTEMPTS):
            claim = self.claims.get(name, namespace)
            if claim is None:
                raise NotFound(f'persistentvolumeclaim "{name}" not found')
            selected = _selected(claim)
            if claim.spec.volumeName or selected not in ("", node):
                raise ProvisioningFailed(f'another node was selected for PVC "{name}"')
            if selected:
                return
            version = claim.metadata.resourceVersion
            change = {"resourceVersion": version, "annotations": {SELECTED_NODE: node}}
            try:
                await client.patch(PersistentVolumeClaim, name, {"metadata": change}, namespace)
            except Conflict:
                if attempt + 1 == SELECT_ATTEMPTS:
                    raise
            else:
                return

    async def _bound(
        self, claims: Sequence[PersistentVolumeClaim], provisioned: Set[ClaimKey], node: str
    ) -> None:
        missing = {_key(claim) for claim in claims}
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def changed(name: str, namespace: str, claim: PersistentVolumeClaim | None) -> None:
            if done.done() or (namespace, name) not in missing:
                return
            if claim is None:
                done.set_exception(NotFound(f'persistentvolumeclaim "{name}" not found'))
            elif (namespace, name) in provisioned and _selected(claim) != node:
                # A provisioner that cannot serve the node removes it, so that another is selected.
                done.set_exception(ProvisioningFailed(f'provisioning failed for PVC "{name}"'))
            elif claim.status.phase == "Bound":
                missing.discard((namespace, name))
                if not missing:
                    done.set_result(None)

        def listen(
            before: PersistentVolumeClaim | None, after: PersistentVolumeClaim | None
        ) -> None:
            claim = after or before
            assert claim is not None
            changed(claim.metadata.name, claim.metadata.namespace, after)

        end = self.claims.subscribe(listen)
        try:
            for namespace, name in sorted(missing):
                changed(name, namespace, self.claims.get(name, namespace))
            await done
        finally:
            end()


def _is_used(info: PodInfo, claim: str, snapshot: Snapshot) -> bool:
    return bool(snapshot.claims.get((info.namespace, claim), set()) - {info.uid})


def _key(claim: PersistentVolumeClaim) -> ClaimKey:
    return claim.metadata.namespace, claim.metadata.name


def _selected(claim: PersistentVolumeClaim) -> str:
    return claim.metadata.annotations.get(SELECTED_NODE, "")
