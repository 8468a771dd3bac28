"""An API without HTTP: real verbs, admission and mirrors over a store in memory, with a clock that stands still."""

from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec

from kubelite.api.auth.caller import Allowed, Attributes, Caller
from kubelite.api.client.elsewhere import Delegated
from kubelite.api.client.local import LocalClient
from kubelite.api.client.mirrors import Mirrors
from kubelite.api.errors import APIError
from kubelite.api.kinds.networking import IPAddress
from kubelite.api.registry import validation
from kubelite.api.registry.addresses import ServiceAddresses
from kubelite.api.registry.admission import Admission, Mutating, Validating
from kubelite.api.registry.answers import Listed, Written
from kubelite.api.registry.builtin import builtin_table
from kubelite.api.registry.custom import CustomResources
from kubelite.api.registry.hooks import Hooks
from kubelite.api.registry.hub import Hub
from kubelite.api.registry.options import DeletionOptions, ReadOptions, WriteOptions
from kubelite.api.registry.verbs import PatchType, Verbs
from kubelite.api.registry.writing import Writer
from kubelite.offload import Offload
from kubelite.randomness import SeededRandomness
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.engine import Engine
from kubelite.store.history import HistoryLimits
from kubelite.store.memory_engine import MemoryEngine

ADMIN = Caller("admin", ("system:masters",))
JSON = dict[str, Any]
T = TypeVar("T")


class StandingClock:
    """Tells the date it was set to."""

    def __init__(self) -> None:
        self.date = datetime(2026, 5, 1, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.date

    def advance(self, seconds: float) -> None:
        self.date += timedelta(seconds=seconds)


class AllowAll:
    """Lets everybody do everything."""

    def authorize(self, caller: Caller, attributes: Attributes) -> Allowed:
        return Allowed(caller, attributes, "test")


class Server:
    """The API, with short calls for tests."""

    def __init__(
        self,
        *plugins: Mutating | Validating,
        changes: int = 10_000,
        engine: Engine | None = None,
        validate: Any = validation.validate,
        offload: Offload | None = None,
        hooks: Hooks | None = None,
        delegated: Delegated | None = None,
        service_cidr: str = "10.43.0.0/16",
        **parts: Any,
    ) -> None:
        self.clock = StandingClock()
        self.store = EmbeddedStore(
            engine or MemoryEngine(), clock=self.clock, limits=HistoryLimits(changes=changes)
        )
        self.randomness = SeededRandomness(7)
        self.resources = builtin_table()
        self.hub = Hub(self.store)
        self.resources.subscribe(lambda change: self.hub.end(change.ended))
        self.mirrors = Mirrors(self.store, self.resources, self.hub)
        self.addresses = ServiceAddresses(
            self.store,
            records=self.resources.of(IPAddress),
            cidr=service_cidr,
            node_ports=(30000, 32767),
            randomness=self.randomness,
        )
        self.writer = Writer(
            self.store,
            clock=self.clock,
            randomness=self.randomness,
            admission=Admission.ordered(*plugins),
            validate=validate,
            warn=validation.warn,
            addresses=self.addresses,
            offload=offload,
        )
        self.verbs = Verbs(
            self.writer, self.resources, self.hub, **{"authorizer": AllowAll(), **parts}
        )
        self.annotations: dict[str, str] = {}  # of audit events
        self.client = LocalClient(self.verbs, AllowAll(), ADMIN, self.mirrors, delegated=delegated)
        self.definitions = CustomResources(self.store, self.resources, hooks)
        self.definitions.start()

    @property
    def admission(self) -> Admission:
        """The plugins of the server."""
        return self.writer.admission

    def admit_by(self, *plugins: Any) -> None:
        """Have every write from now on admitted by these plugins alone."""
        self.writer.admission = self.verbs.deleter._admission = Admission.ordered(*plugins)

    def fail(self, error: APIError | None) -> None:
        """Fail a test whose watch ended."""
        raise error or AssertionError("the resource is no longer served")

    def allowed(self, verb: str, path: str, name: str = "", namespace: str = "default") -> Allowed:
        """Make the evidence for a path such as ``apps/v1/deployments/scale`` or ``v1/pods``."""
        parts = path.split("/")
        start = next(index for index, part in enumerate(parts) if part.startswith("v"))
        group = parts[0] if start else ""
        version, plural, *rest = parts[start:]
        row = self.resources.find(group, version, plural)
        assert row is not None, path
        attributes = Attributes(
            verb=verb,
            group=group,
            version=version,
            resource=plural,
            subresource=rest[0] if rest else "",
            namespace=namespace if row.namespaced else "",
            name=name,
        )
        return Allowed(ADMIN, attributes, annotations=self.annotations)

    async def create(self, path: str, body: JSON, name: str = "", **options: Any) -> JSON:
        namespace = body.get("metadata", {}).get("namespace", "default")
        allowed = self.allowed("create", path, name, namespace)
        return read(await self.verbs.create(allowed, copy(body), WriteOptions(**options)))

    async def update(self, path: str, name: str, body: JSON, **options: Any) -> JSON:
        allowed = self.allowed("update", path, name)
        return read(await self.verbs.update(allowed, copy(body), WriteOptions(**options)))

    async def patch(
        self, path: str, name: str, patch: Any, patch_type: PatchType = "merge", **options: Any
    ) -> JSON:
        allowed = self.allowed("patch", path, name)
        written = await self.verbs.patch(allowed, patch_type, patch, WriteOptions(**options))
        return read(written)

    def get(self, path: str, name: str, namespace: str = "default") -> JSON:
        body = at_once(self.verbs.get(self.allowed("get", path, name, namespace), ReadOptions()))
        found: JSON = msgspec.json.decode(body)
        return found

    def names(self, path: str, namespace: str = "default", **options: Any) -> Sequence[str]:
        items = self.list(path, namespace, **options).items
        return [msgspec.json.decode(item)["metadata"]["name"] for item in items]

    def list(self, path: str, namespace: str = "default", **options: Any) -> Listed:
        allowed = self.allowed("list", path, namespace=namespace)
        return at_once(self.verbs.list(allowed, ReadOptions(**options)))

    async def delete(self, path: str, name: str, **options: Any) -> JSON:
        deleted = await self.verbs.delete(
            self.allowed("delete", path, name), DeletionOptions(**options)
        )
        body: JSON = msgspec.json.decode(deleted.body)
        return body


def at_once(reading: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns that waits for nothing, as reads of few objects do not."""
    try:
        reading.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    reading.close()
    raise AssertionError("it waits")


def read(written: Written) -> JSON:
    """Decode an answer."""
    body: JSON = msgspec.json.decode(written.body)
    return body


def copy(body: JSON) -> JSON:
    """Copy an object, as a request body is one's own."""
    copied: JSON = msgspec.json.decode(msgspec.json.encode(body))
    return copied
