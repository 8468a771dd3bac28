"""API Priority and Fairness: classify each request by flow schema and hold a seat of its priority level."""

import asyncio
import logging
import math
from collections.abc import Iterable, Sequence
from types import TracebackType

from msgspec.structs import replace

from kubelite.api.auth.caller import Attributes, Caller, is_usual
from kubelite.api.client.protocol import Client
from kubelite.api.errors import APIError
from kubelite.api.http import metrics
from kubelite.api.http.fair_queues import Level, LevelLimits, Refused
from kubelite.api.http.flow_bootstrap import (
    CATCH_ALL,
    Item,
    flow_schemas,
    mandatory,
    priority_levels,
)
from kubelite.api.http.flow_matching import distinguisher, in_order, matching
from kubelite.api.kinds.flowcontrol import (
    FlowSchema,
    FlowSchemaCondition,
    PriorityLevelConfiguration,
)
from kubelite.api.kinds.model import to_wire
from kubelite.api.machinery.times import format_time
from kubelite.clock import Clock
from kubelite.limits import REQUEST_SEATS
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

REMEMBERED_MAX = 4096
SCHEMA_HEADER = "X-Kubernetes-PF-FlowSchema-UID"
LEVEL_HEADER = "X-Kubernetes-PF-PriorityLevel-UID"


class Classified:
    """A flow schema with its level and headers, cached for requests with the same attributes."""

    __slots__ = ("headers", "level", "level_name", "schema")

    def __init__(self, schema: FlowSchema, level: Level, level_name: str, level_uid: str) -> None:
        self.schema = schema
        self.level = level
        self.level_name = level_name
        self.headers = ((SCHEMA_HEADER, schema.metadata.uid), (LEVEL_HEADER, level_uid))


class Seat:
    """A context manager that waits for a seat and frees it on exit. Entering raises Refused."""

    __slots__ = ("_classified", "_flow")

    def __init__(self, classified: Classified, flow: str) -> None:
        self._classified = classified
        self._flow = flow

    async def __aenter__(self) -> None:
        classified = self._classified
        try:
            await classified.level.take(self._flow)
        except Refused as refused:
            metrics.rejected_total.labelled(
                classified.schema.metadata.name, classified.level_name, refused.cause
            ).increase()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._classified.level.give_back()


class FlowControl:
    """Classifies requests; keeps levels in step with FlowSchemas and PriorityLevelConfigurations."""

    def __init__(self, seats: int = REQUEST_SEATS.value) -> None:
        self._seats = seats
        self._levels: dict[str, Level] = {}
        self._uids: dict[str, str] = {}
        self._schemas: Sequence[FlowSchema] = ()
        self._remembered: dict[tuple[object, ...], Classified] = {}
        self._tasks = TaskSet()
        self._is_settling = False
        self.configure(flow_schemas(), priority_levels())

    def seat(self, caller: Caller, attributes: Attributes, headers: list[tuple[str, str]]) -> Seat:
        """Return the seat of a request, not taken yet; append the headers that name schema and level by uid."""
        classified = self._classify(caller, attributes)
        headers.extend(classified.headers)
        schema = classified.schema
        flow = f"{schema.metadata.name}/{distinguisher(schema, caller, attributes)}"
        return Seat(classified, flow)

    def configure(
        self,
        schemas: Iterable[FlowSchema],
        configurations: Iterable[PriorityLevelConfiguration],
    ) -> None:
        """Apply a new set of objects; requests in flight keep their seats. Mandatory objects are always present."""
        by_name = {one.metadata.name: one for one in configurations}
        for level in mandatory(priority_levels()):
            by_name[level.metadata.name] = _restored(level, by_name.get(level.metadata.name))
        shares = sum(_shares(one) for one in by_name.values())
        for name, configuration in by_name.items():
            limits = limits_of(configuration, self._seats, shares)
            if (known := self._levels.get(name)) is None:
                self._levels[name] = Level(limits)
            else:
                known.limits = limits
            self._uids[name] = configuration.metadata.uid
        for name in self._levels.keys() - by_name.keys():
            del self._levels[name], self._uids[name]
        peers = tuple(self._levels.values())
        for peer in peers:
            peer.peers = peers
            peer.reconfigure(peer.limits)
        named = {one.metadata.name: one for one in schemas}
        for schema in mandatory(flow_schemas()):
            named[schema.metadata.name] = _restored(schema, named.get(schema.metadata.name))
        # A schema whose level does not exist is dangling, so it matches no request.
        self._schemas = in_order(
            one
            for one in named.values()
            if one.spec.priorityLevelConfiguration.name in self._levels
        )
        self._remembered.clear()

    async def follow(self, client: Client, clock: Clock) -> None:
        """Watch the API objects and apply every change; set the Dangling condition of each schema."""
        schemas = client.mirror(FlowSchema)
        levels = client.mirror(PriorityLevelConfiguration)
        await schemas.synced()
        await levels.synced()

        def changed(before: object, after: object) -> None:  # noqa: ARG001 - everything is read again
            self.configure(schemas.list(), levels.list())
            if not self._is_settling:
                self._is_settling = True
                self._tasks.start(settle(), name="flow schemas")

        async def settle() -> None:
            await asyncio.sleep(0)  # changes in one turn of the loop are settled together
            self._is_settling = False
            for schema in schemas.list():
                await self._tell(client, schema, clock)

        schemas.subscribe(changed)
        levels.subscribe(changed)

    async def stop(self) -> None:
        """Cancel the status updates in flight."""
        await self._tasks.stop()

    async def _tell(self, client: Client, schema: FlowSchema, clock: Clock) -> None:
        wanted = dangling(schema, schema.spec.priorityLevelConfiguration.name in self._levels)
        known = next((one for one in schema.status.conditions if one.type == "Dangling"), None)
        if known is not None and known.status == wanted.status:
            return
        changed = replace(wanted, lastTransitionTime=format_time(clock.now()))
        patch = {"status": {"conditions": [to_wire(changed)]}}
        try:
            await client.patch(
                FlowSchema,
                schema.metadata.name,
                patch,
                patch_type="strategic",
                subresource="status",
            )
        except APIError as error:
            log.info("cannot tell a flow schema's status", extra={"reason": error.message})

    def _classify(self, caller: Caller, attributes: Attributes) -> Classified:
        if not is_usual(caller, attributes):
            return self._classified(caller, attributes)
        key = (
            caller.user,
            caller.groups,
            attributes.verb,
            attributes.group,
            attributes.resource,
            attributes.subresource,
            attributes.namespace,
            "" if attributes.resource else attributes.path,
        )
        if (known := self._remembered.get(key)) is not None:
            return known
        classified = self._classified(caller, attributes)
        if len(self._remembered) >= REMEMBERED_MAX:
            self._remembered.clear()
        self._remembered[key] = classified
        return classified

    def _classified(self, caller: Caller, attributes: Attributes) -> Classified:
        schema = matching(self._schemas, caller, attributes) or self._catch_all()
        level_name = schema.spec.priorityLevelConfiguration.name
        return Classified(schema, self._levels[level_name], level_name, self._uids[level_name])

    def _catch_all(self) -> FlowSchema:
        return next(one for one in self._schemas if one.metadata.name == CATCH_ALL)


def _restored(standard: Item, found: Item | None) -> Item:
    """Return a mandatory object with its standard spec; of the stored object only the metadata is kept."""
    return standard if found is None else replace(standard, metadata=found.metadata)


def dangling(schema: FlowSchema, has_level: bool) -> FlowSchemaCondition:
    """Return the Dangling condition of a schema; it is True if the priority level does not exist."""
    level = schema.spec.priorityLevelConfiguration.name
    start = f'This FlowSchema references the PriorityLevelConfiguration object named "{level}"'
    if has_level:
        return FlowSchemaCondition(
            type="Dangling", status="False", reason="Found", message=f"{start} and it exists"
        )
    return FlowSchemaCondition(
        type="Dangling",
        status="True",
        reason="NotFound",
        message=f"{start} but there is no such object",
    )


def limits_of(
    configuration: PriorityLevelConfiguration, seats: int, all_shares: int
) -> LevelLimits:
    """Return the limits of a level that gets its part of `seats` by its shares out of `all_shares`."""
    spec = configuration.spec
    if spec.type == "Exempt" or spec.limited is None:
        return LevelLimits(seats=0, is_exempt=True)
    limited = spec.limited
    nominal = max(1, math.ceil(seats * _shares(configuration) / max(1, all_shares)))
    lendable = round(nominal * (limited.lendablePercent or 0) / 100)
    borrowable = None
    if limited.borrowingLimitPercent is not None:
        borrowable = round(nominal * limited.borrowingLimitPercent / 100)
    queuing = limited.limitResponse.queuing
    if limited.limitResponse.type != "Queue":
        return LevelLimits(seats=nominal, lendable=lendable, borrowable=borrowable)
    return LevelLimits(
        seats=nominal,
        lendable=lendable,
        borrowable=borrowable,
        queues=(queuing.queues if queuing else 0) or 64,
        hand_size=(queuing.handSize if queuing else 0) or 8,
        queue_length=(queuing.queueLengthLimit if queuing else 0) or 50,
    )


def _shares(configuration: PriorityLevelConfiguration) -> int:
    limited = configuration.spec.limited
    if limited is None:
        return 0
    return 30 if limited.nominalConcurrencyShares is None else limited.nominalConcurrencyShares
