"""The claims of dynamic resource allocation that the pods of a node use (the Kubernetes concept of that name).

Before a pod's sandbox is made, its claims are prepared by their drivers, which name devices of the Container Device
Interface for its containers. Once nothing of the last pod of a claim runs, and before that is told to the API, the
claim is unprepared: afterwards its devices may be given to another node's pods. What is prepared, or may be, is on disk
first, so it is unprepared also after a restart and for pods that are gone by then. Texts and order are upstream's.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar
from weakref import WeakValueDictionary

from kubelite.api.client.protocol import Client
from kubelite.api.errors import APIError
from kubelite.api.kinds.core.container_status import ResourceHealth, ResourceStatus
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.resource import ResourceClaim
from kubelite.grpc.status import GrpcError
from kubelite.limits import DRA_CHECKPOINT, DRA_CLAIM_DEVICES
from kubelite.metrics import Row
from kubelite.node.devices.durable_file import DurableFile, read_durable
from kubelite.node.devices.protocol import CLAIMS_FILE, AllocationFailed, DevicesBusy, Injection
from kubelite.node.dra.drivers import AWAY_SECONDS, Connect, Driver, Drivers, NotRegistered
from kubelite.node.dra.health import Place, resource_health
from kubelite.node.dra.messages import Claim, UnpreparedClaim
from kubelite.node.dra.messages import PreparedClaim as Answer
from kubelite.node.dra.metrics import CLAIMS_IN_USE, PREPARE, UNPREPARE, claims_in_use, observed
from kubelite.node.dra.pod_claims import check, drivers_of, pod_claims, requests_of
from kubelite.node.dra.prepared import (
    ClaimTable,
    DeviceState,
    Key,
    PreparedClaim,
    decode_claims,
    encode_claims,
)
from kubelite.node.dra.slices import wipe_slices
from kubelite.node.pods import AnyContainer
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

A = TypeVar("A", Answer, UnpreparedClaim)


class ClaimManager:
    """Has drivers prepare the claims of pods, and unprepare them."""

    def __init__(
        self,
        folder: Path,
        node: str,
        client: Client,
        connect: Connect,
        wake: Callable[[str], None],
        retry: Callable[[str], None],
        *,
        away_seconds: float = AWAY_SECONDS,
    ) -> None:
        """`wake` is called with the uid of a pod whose devices changed, `retry` with one whose driver is there now."""
        self._path = folder / CLAIMS_FILE
        self._client = client
        self._wake = wake
        self._retry = retry
        self._waiting: dict[str, str] = {}  # for a driver; by uid of the pod
        self._table = ClaimTable()
        self._tasks = TaskSet()
        self._file = DurableFile(self._path, self._tasks)
        CLAIMS_IN_USE.read = self._in_use
        # Held while a claim is prepared or unprepared; one that nobody holds or waits for is dropped.
        self._locks: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()

        async def wipe(driver: str) -> None:
            await wipe_slices(client, node, driver)

        self.drivers = Drivers(
            connect, wipe, self._health_changed, self._registered, away_seconds=away_seconds
        )

    async def restore(self) -> None:
        """Read what was prepared before the start."""
        found = await asyncio.to_thread(read_durable, self._path, DRA_CHECKPOINT, decode_claims)
        self._table = found or ClaimTable()

    async def close(self) -> None:
        """Let go of all drivers; what is prepared stays so."""
        if CLAIMS_IN_USE.read == self._in_use:
            CLAIMS_IN_USE.read = None
        await self.drivers.close()
        await self._tasks.stop()

    def holders(self) -> Collection[str]:
        """Return the uids of the pods that use claims."""
        return self._table.pods()

    def _in_use(self) -> Iterable[Row]:
        return claims_in_use(one.drivers for one in self._table.claims.values())

    def _registered(self, driver: str) -> None:
        waiting = {uid for uid, wanted in self._waiting.items() if wanted == driver}
        claims = [one for one in self._table.claims.values() if driver in one.drivers]
        for uid in sorted(waiting.union(*(claim.pods for claim in claims))):
            self._retry(uid)

    def _health_changed(self, driver: str, places: set[Place]) -> None:
        for uid in self._table.pods_with(driver, places):
            self._wake(uid)

    # Preparing

    async def prepare(self, pod: Pod) -> None:
        """Have the claims of a pod prepared, unless they are. Raises AllocationFailed; try again later."""
        uid = pod.metadata.uid
        self._waiting.pop(uid, None)
        try:
            with observed(PREPARE):
                found = await self._read(pod)
                async with self._locked(found):
                    await self._prepare(uid, found)
        except AllocationFailed as error:
            if isinstance(error, NotRegistered):
                self._waiting[uid] = error.driver
            raise AllocationFailed(f"prepare dynamic resources: {error}") from error

    async def _read(self, pod: Pod) -> dict[Key, ResourceClaim]:
        """Return the claims of a pod, which it may use and whose drivers are there. Raises AllocationFailed."""
        found: dict[Key, ResourceClaim] = {}
        for entry in pod_claims(pod):
            namespace = pod.metadata.namespace
            try:
                claim = await self._client.get(ResourceClaim, entry.name, namespace)
            except APIError as error:
                raise AllocationFailed(f"fetch ResourceClaim {entry.name}: {error}") from error
            check(pod, entry, claim)
            for driver in drivers_of(claim):
                self.drivers.get(driver)
            found[namespace, entry.name] = claim
        return found

    async def _prepare(self, pod_uid: str, found: Mapping[Key, ResourceClaim]) -> None:
        """Prepare claims whose locks are held. Raises AllocationFailed."""
        batches: dict[str, list[PreparedClaim]] = {}
        for key, claim in found.items():
            known = self._known(key, claim)
            known.pods.add(pod_uid)
            for driver in () if known.is_prepared else known.drivers:
                batches.setdefault(driver, []).append(known)
        await self._save()
        for name, claims in sorted(batches.items()):
            await self._prepare_with(self.drivers.get(name), claims)
        for key in found:
            self._table.claims[key].is_prepared = True
        if batches:
            await self._save()

    def _known(self, key: Key, claim: ResourceClaim) -> PreparedClaim:
        known = self._table.claims.get(key)
        if known is None:
            known = PreparedClaim(claim.metadata.uid, key, drivers_of(claim))
            self._table.claims[key] = known
        elif known.uid != claim.metadata.uid:
            raise AllocationFailed(
                f"old ResourceClaim with same name {key[1]} and different UID {known.uid} still "
                "exists (previous pod force-deleted?!)"
            )
        return known

    async def _prepare_with(self, driver: Driver, claims: list[PreparedClaim]) -> None:
        asked = [claim.request for claim in claims]
        try:
            response = await driver.prepare(asked)
        except GrpcError as error:
            raise AllocationFailed(f"NodePrepareResources: {error}") from error
        answers = _answers("NodePrepareResources", asked, response.claims)
        for claim in claims:
            claim.drivers[driver.name] = _devices(claim, answers[claim.uid])

    # What containers get

    async def injection(self, pod: Pod, container: AnyContainer) -> Injection:
        """Return the devices of a container's claims. Raises AllocationFailed."""
        wanted = requests_of(pod, container)
        namespace = pod.metadata.namespace
        if any((namespace, name) not in self._table.claims for name in wanted):
            await self.prepare(pod)  # what was prepared before a restart is lost
        names: dict[str, None] = {}
        for name, requests in wanted.items():
            for request in requests:
                names |= dict.fromkeys(self._table.claims[namespace, name].cdi_devices(request))
        return Injection(cdi_devices=tuple(names))

    def container_claims(self, pod: Pod, container: AnyContainer) -> list[PreparedClaim]:
        """Return the prepared claims that a container uses."""
        try:
            wanted = requests_of(pod, container)
        except AllocationFailed:  # some are not made yet
            return []
        keys = ((pod.metadata.namespace, name) for name in wanted)
        return [self._table.claims[key] for key in keys if key in self._table.claims]

    def statuses(self, pod: Pod) -> Mapping[str, list[ResourceStatus]]:
        """Return the health of the devices of a pod's claims, by container."""
        found = {one.name: self._container_status(pod, one) for one in pod.spec.containers}
        return {name: statuses for name, statuses in found.items() if statuses}

    def _container_status(self, pod: Pod, container: AnyContainer) -> list[ResourceStatus]:
        if not container.resources.claims:
            return []
        try:
            names = {entry.entry: entry.name for entry in pod_claims(pod)}
        except AllocationFailed:
            return []
        statuses = []
        for wish in container.resources.claims:
            claim = self._table.claims.get((pod.metadata.namespace, names.get(wish.name, "")))
            if claim is None:
                continue
            health = self._devices_health(claim, wish.request.partition("/")[0])
            if health:
                name = f"claim:{wish.name}" + (f"/{wish.request}" if wish.request else "")
                statuses.append(ResourceStatus(name=name, resources=health))
        return statuses

    def _devices_health(self, claim: PreparedClaim, request: str) -> list[ResourceHealth]:
        found: dict[str, ResourceHealth] = {}
        for driver, devices in claim.drivers.items():
            for device in devices:
                if device.serves(request):
                    identity = f"{driver}/{device.pool_name}/{device.device_name}"
                    identity = next(iter(device.cdi_device_ids or ()), identity)
                    health = self.drivers.health(driver, (device.pool_name, device.device_name))
                    found.setdefault(identity, resource_health(identity, health))
        return list(found.values())

    # Unpreparing

    async def unprepare(self, pod_uid: str) -> None:
        """Take a pod off its claims, and have those unprepared that no other uses. Raises DevicesBusy; try again."""
        self._waiting.pop(pod_uid, None)
        keys = [claim.key for claim in self._table.of_pod(pod_uid)]
        if not keys:
            return
        try:
            with observed(UNPREPARE):
                async with self._locked(keys):
                    await self._unprepare(pod_uid)
        except (AllocationFailed, OSError) as error:
            raise DevicesBusy(f"unprepare dynamic resources: {error}") from error

    async def _unprepare(self, pod_uid: str) -> None:
        unused: list[PreparedClaim] = []
        for claim in self._table.of_pod(pod_uid):
            if len(claim.pods) > 1:
                claim.pods.discard(pod_uid)
            else:
                claim.is_prepared = False
                unused.append(claim)
        names = sorted({name for claim in unused for name in claim.drivers})
        for name in names:
            concerned = [claim.request for claim in unused if name in claim.drivers]
            await _unprepare_with(self.drivers.get(name), concerned)
        for claim in unused:
            del self._table.claims[claim.key]
        await self._file.save(lambda: encode_claims(self._table))

    def _locked(self, keys: Iterable[Key]) -> AsyncExitStack:
        return _Locked([self._locks.setdefault(key, asyncio.Lock()) for key in sorted(keys)])

    async def _save(self) -> None:
        try:
            await self._file.save(lambda: encode_claims(self._table))
        except OSError as error:
            text = f"checkpoint ResourceClaim state: {error.strerror or error}"
            raise AllocationFailed(text) from error


class _Locked(AsyncExitStack):
    """Holds locks, which are taken in the given order."""

    def __init__(self, locks: list[asyncio.Lock]) -> None:
        super().__init__()
        self._locks = locks

    async def __aenter__(self) -> "_Locked":
        try:
            for lock in self._locks:
                await self.enter_async_context(lock)
        except BaseException:
            await self.aclose()
            raise
        return self


async def _unprepare_with(driver: Driver, asked: list[Claim]) -> None:
    try:
        response = await driver.unprepare(asked)
    except GrpcError as error:
        raise AllocationFailed(f"NodeUnprepareResources: {error}") from error
    _answers("NodeUnprepareResources", asked, response.claims)


def _answers(method: str, asked: list[Claim], answers: Mapping[str, A]) -> Mapping[str, A]:
    """Return what a driver answered for each claim. Raises AllocationFailed unless all succeeded."""
    names = {claim.uid: claim.name for claim in asked}
    for uid, answer in answers.items():
        if uid not in names:
            raise AllocationFailed(f"{method} returned result for unknown claim UID {uid[:100]}")
        if answer.error:
            raise AllocationFailed(
                f"{method} failed for ResourceClaim {names[uid]}: {answer.error}"
            )
    if skipped := len(names.keys() - answers.keys()):
        raise AllocationFailed(f"{method} skipped {skipped} ResourceClaims")
    return answers


def _devices(claim: PreparedClaim, answer: Answer) -> list[DeviceState]:
    count = sum(1 + len(one.cdi_device_ids) + len(one.request_names) for one in answer.devices)
    if count > DRA_CLAIM_DEVICES.value:
        DRA_CLAIM_DEVICES.reached()
        raise AllocationFailed(
            f"NodePrepareResources returned too many devices for ResourceClaim {claim.key[1]}"
        )
    return [DeviceState.of(one) for one in answer.devices]
