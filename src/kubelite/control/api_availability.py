"""Keeps the condition Available of APIServices: is there a server that answers for the group version?

Source: kube-aggregator's availability controllers, local and remote. What objects tell is decided by `verdict`; if they
tell nothing bad, the server is asked. It is asked again when one of the objects changes, every 30 s while it answers,
and with back-off while it does not. While it is asked, changes of its objects are merged into one further turn, so a
backend that flaps costs one series of attempts at a time, and a write for each change of what was found.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.kinds.apiregistration import APIService, APIServiceCondition, ServiceReference
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.machinery.api_availability import AVAILABLE, LOCAL_MESSAGE, LOCAL_REASON
from kubelite.api.machinery.times import format_time
from kubelite.backoff import backoff_seconds
from kubelite.control.conditions import find, is_true
from kubelite.control.endpointslice import SERVICE
from kubelite.control.runtime import Context, Key, Watch
from kubelite.limits import API_PROBE_REASON
from kubelite.metrics import REGISTRY

RECHECK_SECONDS = 30.0
RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS = 0.005, 30.0
ATTEMPTS = 5  # one answer among them is enough; each may reach another endpoint
HEAD_START_SECONDS = 1.0  # of the first attempt, which is the only one if it succeeds
PROBE_SECONDS = 6.0  # for one attempt, connecting included
PORT_DEFAULT = 443
BACKEND = "backend"  # index of APIServices by their Service
SERVICE_OF_SLICE = "service"  # index of EndpointSlices by their Service
UNAVAILABLE = REGISTRY.listing(
    "aggregator_unavailable_apiservice",
    "Whether an APIService is unavailable (1) or available (0).",
    ("name",),
)
UNAVAILABLE_TOTAL = REGISTRY.counter(
    "aggregator_unavailable_apiservice_total",
    "How often an APIService became unavailable, by reason.",
    ("name", "reason"),
)


class Verdict(Struct, frozen=True):
    """What the condition Available says."""

    status: str
    reason: str
    message: str


LOCAL = Verdict("True", LOCAL_REASON, LOCAL_MESSAGE)
PASSED = Verdict("True", "Passed", "all checks passed")


def verdict(
    service: APIService, backend: Service | None, slices: Sequence[EndpointSlice]
) -> Verdict | None:
    """Decide by the objects alone; None: the server has to be asked.

    `backend` is the Service, `slices` its EndpointSlices. Only of a Service of type ClusterIP ports and endpoints are
    known to matter.
    """
    reference = service.spec.service
    if reference is None:
        return LOCAL
    shown = f'service/{reference.name} in "{reference.namespace}"'
    if backend is None:
        return _bad("ServiceNotFound", f"{shown} is not present")
    if backend.spec.type != "ClusterIP":
        return None
    number = port_of(reference)
    name = next((port.name for port in backend.spec.ports if port.port == number), None)
    if name is None:
        return _bad("ServicePortError", f"{shown} is not listening on port {number}")
    if not slices:
        return _bad("EndpointsNotFound", f"cannot find endpointslices for {shown}")
    if not any(_is_ready(one, name) for one in slices):
        message = f'endpointslices for {shown} have no addresses with port name "{name}"'
        return _bad("MissingEndpoints", message)
    return None


def _bad(reason: str, message: str) -> Verdict:
    return Verdict("False", reason, message)


def _is_ready(one: EndpointSlice, port_name: str) -> bool:
    return any(endpoint.conditions.ready is not False for endpoint in one.endpoints) and any(
        port.name == port_name and port.port is not None for port in one.ports
    )


def port_of(reference: ServiceReference) -> int:
    """Return the port of the Service."""
    return PORT_DEFAULT if reference.port is None else reference.port


def failed(reason: str) -> Verdict:
    """Return the verdict about a server that did not answer as it should."""
    if len(reason) > API_PROBE_REASON.value:
        API_PROBE_REASON.reached()
        reason = f"{reason[: API_PROBE_REASON.value]}..."
    return _bad("FailedDiscoveryCheck", reason)


def revised(service: APIService, found: Verdict, now: str) -> APIService | None:
    """Return the APIService with what was found in its status; None if it says that already."""
    current = find(service.status.conditions, AVAILABLE)
    condition = APIServiceCondition(
        type=AVAILABLE,
        status=found.status,
        reason=found.reason,
        message=found.message,
        lastTransitionTime=now,
    )
    if current is None:
        conditions = [*service.status.conditions, condition]
    else:
        if current.status == found.status:
            condition = replace(condition, lastTransitionTime=current.lastTransitionTime)
        if condition == current:
            return None
        conditions = [condition if one is current else one for one in service.status.conditions]
    return replace(service, status=replace(service.status, conditions=conditions))


async def first_success(ask: Callable[[], Awaitable[str]]) -> str:
    """Ask several times, all but the first at once; return "" after the first success, else the last reason."""
    loop = asyncio.get_running_loop()

    async def attempt() -> str:
        return await ask()

    attempts = [loop.create_task(attempt(), name="probe an APIService")]
    try:
        done, _ = await asyncio.wait(attempts, timeout=HEAD_START_SECONDS)
        if not done or attempts[0].result():
            attempts += [
                loop.create_task(attempt(), name="probe an APIService") for _ in range(ATTEMPTS - 1)
            ]
        reason = ""
        for answer in asyncio.as_completed(attempts):
            if not (reason := await answer):
                break
        return reason
    finally:
        for one in attempts:
            one.cancel()
        await asyncio.gather(*attempts, return_exceptions=True)


class APIAvailability:
    """Reconciles the status of APIServices."""

    name = "apiservice-availability"
    identity = "system:apiserver"  # upstream does it in the API server
    workers = 5

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._probe = context.options.probe_api_service
        self._services = context.mirror(APIService)
        self._services.add_index(BACKEND, _backend_of)
        self._backends = context.mirror(Service)
        self._slices = context.mirror(EndpointSlice)
        self._failures: dict[str, int] = {}  # series of failed attempts in a row, by name
        self._said: dict[str, Verdict] = {}  # by name: what this controller wrote or found written
        UNAVAILABLE.read = self._rows

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch APIServices, and the Services and EndpointSlices behind them."""
        return (
            Watch(APIService, where=self._matters),
            Watch(Service, self._keys_of_backend),
            Watch(EndpointSlice, self._keys_of_slice),
        )

    def _matters(self, before: APIService | None, after: APIService | None) -> bool:
        """Return whether a change is not just what this controller wrote itself."""
        if before is None or after is None:
            return True
        return before.spec != after.spec or _said_by(after) != self._said.get(after.metadata.name)

    def _keys_of_backend(self, backend: Service) -> Iterable[Key]:
        return self._keys(backend.metadata.namespace, backend.metadata.name)

    def _keys_of_slice(self, one: EndpointSlice) -> Iterable[Key]:
        return self._keys(one.metadata.namespace, one.metadata.labels.get(SERVICE, ""))

    def _keys(self, namespace: str, name: str) -> Iterable[Key]:
        return (
            Key("", one.metadata.name)
            for one in self._services.indexed(BACKEND, f"{namespace}/{name}")
        )

    async def reconcile(self, key: Key) -> float | None:
        """Find out whether an APIService is available and write it; ask again later if the server was asked."""
        service = self._services.get(key.name)
        if service is None:
            self._failures.pop(key.name, None)
            self._said.pop(key.name, None)
            return None
        found = self._seen(service)
        if found is not None:
            self._failures.pop(key.name, None)
            await self._write(service, found)
            return None
        reason = await self._ask(service)
        found = failed(reason) if reason else PASSED
        failures = self._failures.get(key.name, 0)
        if reason:
            self._failures[key.name] = failures + 1
        else:
            self._failures.pop(key.name, None)
        await self._write(service, found)
        if reason:
            return backoff_seconds(failures, RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS)
        return RECHECK_SECONDS

    def _seen(self, service: APIService) -> Verdict | None:
        reference = service.spec.service
        if reference is None:
            return LOCAL
        # Made with the first APIService that has a Service; without one nobody needs it.
        self._slices.add_index(SERVICE_OF_SLICE, _service_of)
        place = f"{reference.namespace}/{reference.name}"
        backend = self._backends.get(reference.name, reference.namespace)
        return verdict(service, backend, self._slices.indexed(SERVICE_OF_SLICE, place))

    async def _ask(self, service: APIService) -> str:
        probe = self._probe
        if probe is None:
            return ""

        async def ask() -> str:
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    return await probe.probe(service)
            except TimeoutError:
                return f"timed out waiting for {_address(service)}"

        return await first_success(ask)

    async def _write(self, service: APIService, found: Verdict) -> None:
        self._said[service.metadata.name] = found
        changed = revised(service, found, format_time(self._clock.now()))
        if changed is None:
            return
        was_available = is_true(service.status.conditions, AVAILABLE)
        await self._client.update(changed, "status")
        if was_available and found.status != "True":
            UNAVAILABLE_TOTAL.labelled(service.metadata.name, found.reason).increase()

    def _rows(self) -> Iterable[tuple[tuple[str, ...], float]]:
        return (
            ((one.metadata.name,), float(not is_true(one.status.conditions, AVAILABLE)))
            for one in self._services.list()
        )


def _backend_of(service: APIService) -> tuple[str, ...]:
    reference = service.spec.service
    return () if reference is None else (f"{reference.namespace}/{reference.name}",)


def _service_of(one: EndpointSlice) -> tuple[str, ...]:
    name = one.metadata.labels.get(SERVICE)
    return (f"{one.metadata.namespace}/{name}",) if name else ()


def _said_by(service: APIService) -> Verdict | None:
    condition = find(service.status.conditions, AVAILABLE)
    if condition is None:
        return None
    return Verdict(condition.status, condition.reason, condition.message)


def _address(service: APIService) -> str:
    spec = service.spec
    assert spec.service is not None
    host = f"{spec.service.name}.{spec.service.namespace}.svc:{port_of(spec.service)}"
    group = f"apis/{spec.group}" if spec.group else "api"
    return f"https://{host}/{group}/{spec.version}"
