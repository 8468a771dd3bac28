"""The scheduler's side of dynamic resource allocation: mirrors, what is given out, and the writes of a reservation.

It exists from the first pod with resource claims on.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from msgspec.structs import replace

from kubelite.api.client.protocol import Client, Mirror
from kubelite.api.errors import APIError, Conflict, NotFound
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.model import Kind, to_wire
from kubelite.api.kinds.resource import (
    AllocationResult,
    ResourceClaim,
    ResourceClaimConsumerReference,
    ResourceSlice,
)
from kubelite.api.machinery.extended_resources import is_extended_claim
from kubelite.api.machinery.resource_claims import (
    FINALIZER,
    claim_names,
    foreign_claim,
    reservation_for,
)
from kubelite.api.machinery.times import format_time
from kubelite.clock import Clock
from kubelite.control.ownership import controller_uid
from kubelite.control.scheduler.devices.allocator import TookTooLong
from kubelite.control.scheduler.devices.claims import (
    BINDING_TIMEOUT_SECONDS,
    ClaimState,
    is_ready,
    must_be_bound,
)
from kubelite.control.scheduler.devices.protocol import (
    AllocationFailed,
    AllocationLost,
    DeviceNotReady,
    ExtendedReservation,
    Reservation,
)
from kubelite.control.scheduler.devices.selecting import Selectors
from kubelite.control.scheduler.devices.slices import Offers
from kubelite.control.scheduler.devices.usage import Usage
from kubelite.control.scheduler.pod_info import PodInfo
from kubelite.control.scheduler.steps import TooManySteps, in_turns
from kubelite.metrics import REGISTRY
from kubelite.offload import Offload
from kubelite.randomness import Randomness

CLAIM_INDEX: Final = "resource claim of a pod"
EXTENDED_INDEX: Final = "pod of a claim for extended resources"
WRITE_ATTEMPTS: Final = 5  # of a claim that others write too
CLAIMS_MADE = REGISTRY.counter(
    "scheduler_resourceclaim_creates_total",
    "Claims that the scheduler tried to make for extended resources, by outcome.",
    ("status",),
)
Change = tuple[ResourceClaim | None, ResourceClaim | None]


class Devices:
    """What the decisions about pods with resource claims read, and what they write."""

    def __init__(
        self,
        *,
        mirrors: Client,
        clock: Clock,
        randomness: Randomness,
        offload: Offload,
        wake: Callable[[], None],
        wake_pod: Callable[[str], None],
    ) -> None:
        """`wake` is called when any pod may get devices, `wake_pod` when one pod may, with its uid."""
        self.claims: Mirror[ResourceClaim] = mirrors.mirror(ResourceClaim)
        self.offers = Offers(mirrors)
        self.usage = Usage()
        self.selectors = Selectors(offload)
        self.new_uid = randomness.uid
        self._pods = mirrors.mirror(Pod)
        self._pods.add_index(CLAIM_INDEX, _claim_keys)
        self.claims.add_index(EXTENDED_INDEX, _extended_for)
        self._clock = clock
        self._wake = wake
        self._wake_pod = wake_pod
        self._ends: list[Callable[[], None]] = []

    def now(self) -> datetime:
        """Return the date."""
        return self._clock.now()

    async def synced(self) -> None:
        """Wait for the mirrors, then follow them."""
        for mirror in (self.claims, self.offers.slices, self.offers.classes):
            await mirror.synced()
        if not self._ends:
            self._ends = [
                self.claims.subscribe(self._claim_changed),
                self.offers.slices.subscribe(self._slice_changed),
                self.offers.classes.subscribe(self._class_changed),
            ]

    def close(self) -> None:
        """Follow no more."""
        for end in self._ends:
            end()

    async def read(self, info: PodInfo) -> ClaimState:
        """Return the claims of a pod, and prepare the expressions that a decision evaluates.

        Raises ClaimNotMade and AllocationFailed.
        """
        state = ClaimState(info, self)
        try:
            await in_turns(state.read())
            if texts := list(state.selectors()):
                await self.selectors.prepare(texts, self.offers.slices.list())
        except (TooManySteps, TookTooLong):
            raise AllocationFailed("timed out trying to allocate devices") from None
        return state

    def extended_claim_of(self, pod: Pod) -> ResourceClaim | None:
        """Return the claim that was made for the extended resources of a pod."""
        found = self.claims.indexed(EXTENDED_INDEX, pod.metadata.uid)
        return next((one for one in found if not foreign_claim(pod, one)), None)

    # --- changes

    def _claim_changed(self, before: ResourceClaim | None, after: ResourceClaim | None) -> None:
        self.usage.changed(before, after)
        was_allocated = before is not None and before.status.allocation is not None
        if was_allocated and (after is None or after.status.allocation is None):
            self._wake()
        elif after is None:
            for uid in _extended_for(before) if before is not None else ():
                self._wake_pod(uid)
        elif before is None or before.status != after.status:
            key = f"{after.metadata.namespace}/{after.metadata.name}"
            for pod in self._pods.indexed(CLAIM_INDEX, key):
                if not pod.spec.nodeName:
                    self._wake_pod(pod.metadata.uid)

    def _slice_changed(self, before: ResourceSlice | None, after: ResourceSlice | None) -> None:
        self.selectors.forget(before, after)
        # A pool whose slice is gone may be incomplete no longer.
        self._wake()

    def _class_changed(self, _before: Kind | None, after: Kind | None) -> None:
        if after is not None:
            self._wake()

    # --- reserving

    def assume(self, reservation: Reservation) -> None:
        """Count the devices of a reservation as given out."""
        for claim, allocated in reservation.claims:
            if allocated is not None:
                self.usage.assume(claim.metadata.uid, allocated)
        if (extended := reservation.extended) is not None:
            self.usage.assume(extended.claim.metadata.uid, extended.allocation)

    async def reserve(
        self, client: Client, pod: Pod, reservation: Reservation
    ) -> list[ResourceClaim]:
        """Write a reservation; return the claims whose devices a driver has to make ready now.

        Raises APIError and AllocationLost; then `unreserve` has to follow.
        """
        written = [
            await self._write(client, pod, claim, allocated)
            for claim, allocated in reservation.claims
        ]
        if (extended := reservation.extended) is not None:
            written.append(await self._write_extended(client, pod, extended))
        return [one for one in (*written, *reservation.reserved) if must_be_bound([one])]

    async def _write_extended(
        self, client: Client, pod: Pod, extended: ExtendedReservation
    ) -> ResourceClaim:
        """Make the claim for the extended resources of a pod, and tell the pod's node of it."""
        stand_in = extended.claim.metadata
        try:
            made = await client.create(
                replace(extended.claim, metadata=replace(stand_in, name="", uid=""))
            )
        except APIError as error:
            CLAIMS_MADE.labelled("failure").increase()
            name = f"{stand_in.namespace}/{stand_in.generateName}"
            raise AllocationLost(
                f"create claim for extended resources {name}: {error.message}"
            ) from error
        CLAIMS_MADE.labelled("success").increase()
        extended.made = made
        self.usage.rename(stand_in.uid, made.metadata.uid)
        written = await self._write(client, pod, made, extended.allocation)
        mappings = [to_wire(one) for one in extended.mappings]
        named = {"resourceClaimName": made.metadata.name, "requestMappings": mappings}
        await _name_claim(client, pod, named)
        return written

    async def _write(
        self, client: Client, pod: Pod, claim: ResourceClaim, allocated: AllocationResult | None
    ) -> ResourceClaim:
        meta = claim.metadata
        current = claim
        for _ in range(WRITE_ATTEMPTS - 1):
            try:
                return await self._write_once(client, pod, current, meta.uid, allocated)
            except Conflict:
                current = await client.get(ResourceClaim, meta.name, meta.namespace)
        return await self._write_once(client, pod, current, meta.uid, allocated)

    async def _write_once(
        self,
        client: Client,
        pod: Pod,
        claim: ResourceClaim,
        uid: str,
        allocated: AllocationResult | None,
    ) -> ResourceClaim:
        name = f"{claim.metadata.namespace}/{claim.metadata.name}"
        if claim.metadata.deletionTimestamp is not None or claim.metadata.uid != uid:
            raise AllocationLost(f"claim {name} got deleted in the meantime")
        if allocated is not None:
            if claim.status.allocation is not None:
                raise AllocationLost(f"claim {name} got allocated elsewhere in the meantime")
            claim = await _guarded(client, claim)
        given = claim.status.allocation if allocated is None else allocated
        if given is None:
            raise AllocationLost(f"claim {name} got deallocated elsewhere in the meantime")
        if given.allocationTimestamp is None:
            given = replace(given, allocationTimestamp=format_time(self._clock.now()))
        reserved = [*_others(claim.status.reservedFor, pod), reservation_for(pod)]
        status = replace(claim.status, allocation=given, reservedFor=reserved)
        return await client.update(replace(claim, status=status), "status")

    async def unreserve(self, client: Client, pod: Pod, reservation: Reservation) -> None:
        """Give back what was assumed, and remove the pod's reservations; its claims stay allocated."""
        given_back = False
        for claim, allocated in reservation.claims:
            meta = claim.metadata
            current = self.claims.get(meta.name, meta.namespace)
            if allocated is not None:
                given_back |= self.usage.withdraw(meta.uid, current)
            if current is not None and current.metadata.uid == meta.uid:
                with suppress(APIError):  # as upstream: the next attempt reserves it again
                    await self._release(client, pod, current)
        if (extended := reservation.extended) is not None:
            given_back |= await self._unreserve_extended(client, pod, extended)
        if given_back:
            self._wake()

    async def _unreserve_extended(
        self, client: Client, pod: Pod, extended: ExtendedReservation
    ) -> bool:
        """Delete the claim that was made; return whether its devices were given back at once."""
        made = extended.made
        if made is None:
            return self.usage.withdraw(extended.claim.metadata.uid, None)
        with suppress(APIError):  # the next attempt finds it
            await self.remove_extended(client, pod, made)
        meta = made.metadata
        return self.usage.withdraw(meta.uid, self.claims.get(meta.name, meta.namespace))

    async def remove_extended(self, client: Client, pod: Pod, claim: ResourceClaim | None) -> None:
        """Delete the claim of a pod's extended resources, which was made in vain. Raises APIError."""
        # The claim is found without the pod's status, but not the other way round, so the claim goes last.
        with suppress(NotFound):
            await _name_claim(client, pod, None)
        if claim is None:
            return
        meta = claim.metadata
        with suppress(NotFound):
            for _ in range(WRITE_ATTEMPTS):
                current = await client.get(ResourceClaim, meta.name, meta.namespace)
                if current.metadata.uid != meta.uid:
                    return
                with suppress(Conflict):
                    await _unguarded(client, current)
                    break
            await client.delete(ResourceClaim, meta.name, meta.namespace, uid=meta.uid)

    async def _release(self, client: Client, pod: Pod, claim: ResourceClaim) -> None:
        meta = claim.metadata
        for _ in range(WRITE_ATTEMPTS):
            others = _others(claim.status.reservedFor, pod)
            if claim.metadata.uid != meta.uid or len(others) == len(claim.status.reservedFor):
                return
            status = replace(claim.status, reservedFor=others)
            try:
                await client.update(replace(claim, status=status), "status")
            except Conflict:
                claim = await client.get(ResourceClaim, meta.name, meta.namespace)
            else:
                return

    async def deallocate(self, client: Client, claim: ResourceClaim) -> None:
        """Take the devices of a claim back, so that others can be found for it. Raises APIError."""
        status = replace(claim.status, allocation=None, reservedFor=[], devices=[])
        await client.update(replace(claim, status=status), "status")

    # --- devices that a driver makes ready first

    async def wait_ready(self, claims: Sequence[ResourceClaim]) -> None:
        """Wait until all devices are ready. Raises DeviceNotReady and NotFound."""
        waiting = {(one.metadata.namespace, one.metadata.name) for one in claims}
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def look(_before: ResourceClaim | None, after: ResourceClaim | None) -> None:
            changed = after or _before
            assert changed is not None
            key = (changed.metadata.namespace, changed.metadata.name)
            if done.done() or key not in waiting:
                return
            try:
                if after is None:
                    raise NotFound(f'resourceclaim.resource.k8s.io "{key[1]}" not found')
                if is_ready(after):
                    waiting.discard(key)
            except (DeviceNotReady, NotFound) as error:
                done.set_exception(error)
            else:
                if not waiting:
                    done.set_result(None)

        end = self.claims.subscribe(look)
        try:
            async with asyncio.timeout(BINDING_TIMEOUT_SECONDS):
                await done
        except TimeoutError:
            late = ", ".join(sorted(name for _, name in waiting))
            raise DeviceNotReady(f"device binding timeout: claim={late}") from None
        finally:
            end()


async def _guarded(client: Client, claim: ResourceClaim) -> ResourceClaim:
    """Return a claim that its finalizer keeps from being deleted while it has devices."""
    meta: ObjectMeta = claim.metadata
    if FINALIZER in meta.finalizers:
        return claim
    guarded = replace(meta, finalizers=[*meta.finalizers, FINALIZER])
    return await client.update(replace(claim, metadata=guarded))


async def _unguarded(client: Client, claim: ResourceClaim) -> None:
    others = [one for one in claim.metadata.finalizers if one != FINALIZER]
    if len(others) < len(claim.metadata.finalizers):
        await client.update(replace(claim, metadata=replace(claim.metadata, finalizers=others)))


async def _name_claim(client: Client, pod: Pod, named: dict[str, Any] | None) -> None:
    """Write into a pod's status which claim its extended resources have."""
    meta = pod.metadata
    await client.patch(
        Pod,
        meta.name,
        {"metadata": {"uid": meta.uid}, "status": {"extendedResourceClaimStatus": named}},
        meta.namespace,
        patch_type="strategic",
        subresource="status",
    )


def _others(
    reserved: Sequence[ResourceClaimConsumerReference], pod: Pod
) -> list[ResourceClaimConsumerReference]:
    return [one for one in reserved if one.uid != pod.metadata.uid]


def _extended_for(claim: ResourceClaim) -> Sequence[str]:
    """Return the uid of the pod for whose extended resources a claim was made."""
    return controller_uid(claim) if is_extended_claim(claim) else ()


def _claim_keys(pod: Pod) -> Sequence[str]:
    return [f"{pod.metadata.namespace}/{name}" for name in claim_names(pod).values() if name]
