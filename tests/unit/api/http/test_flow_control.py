"""Classifying requests, and levels that follow their objects."""

import asyncio
from typing import Any

import pytest
from fakes.server import Server
from msgspec.structs import replace

from kubelite.api.auth.caller import Attributes, Caller
from kubelite.api.errors import TooManyRequests
from kubelite.api.http.flow_bootstrap import flow_schemas, priority_levels
from kubelite.api.http.flow_control import FlowControl, limits_of
from kubelite.api.http.flow_matching import in_order, matching
from kubelite.api.kinds.flowcontrol import (
    FlowSchema,
    PriorityLevelConfiguration,
    PriorityLevelConfigurationReference,
)
from kubelite.limits import DECISION_KEY

AUTHENTICATED = "system:authenticated"


async def create_all(server: Server) -> None:
    for item in (*priority_levels(), *flow_schemas()):
        await server.client.create(item)


def caller(user: str, *groups: str) -> Caller:
    return Caller(user=user, groups=(*groups, AUTHENTICATED))


def asks(verb: str = "get", resource: str = "", **more: Any) -> Attributes:
    return Attributes(verb=verb, resource=resource, **more)


@pytest.mark.parametrize(
    ("who", "attributes", "schema"),
    [
        (caller("admin", "system:masters"), asks("list", "pods"), "exempt"),
        (caller("x"), asks(path="/healthz"), "probes"),
        (caller("x"), asks(path="/version"), "global-default"),
        (
            caller("system:kube-scheduler"),
            asks("update", "leases", group="coordination.k8s.io", namespace="kube-system"),
            "system-leader-election",
        ),
        (caller("system:kube-scheduler"), asks("list", "pods"), "kube-scheduler"),
        (
            caller("n", "system:nodes"),
            asks("patch", "nodes", subresource="status"),
            "system-node-high",
        ),
        (caller("n", "system:nodes"), asks("list", "pods"), "system-nodes"),
        (
            caller("system:serviceaccount:kube-system:dns", "system:serviceaccounts"),
            asks("list", "pods"),
            "kube-system-service-accounts",
        ),
        (
            caller("system:serviceaccount:a:b", "system:serviceaccounts"),
            asks("list", "pods", namespace="a"),
            "service-accounts",
        ),
        (
            Caller("system:anonymous", ("system:unauthenticated",)),
            asks("get", "pods"),
            "global-default",
        ),
    ],
)
def test_bootstrap_schemas(who: Caller, attributes: Attributes, schema: str) -> None:
    found = matching(in_order(flow_schemas()), who, attributes)
    assert found is not None
    assert found.metadata.name == schema


@pytest.mark.parametrize(
    ("who", "attributes"),
    [
        (caller("x"), asks(path="/" + "a" * DECISION_KEY.value)),
        (caller("x"), asks("get", "pods", namespace="n" * DECISION_KEY.value)),
        (caller("u" * DECISION_KEY.value), asks("list", "pods")),
    ],
)
def test_long_requests_are_classified_and_not_remembered(
    who: Caller, attributes: Attributes
) -> None:
    flow, before = FlowControl(), DECISION_KEY.times_reached
    for _ in range(2):
        headers: list[tuple[str, str]] = []
        flow.seat(who, attributes, headers)
        assert len(headers) == 2
    assert DECISION_KEY.times_reached == before + 2
    flow.seat(caller("x"), asks(path="/version"), [])
    assert DECISION_KEY.times_reached == before + 2


def test_seats_are_shared_out() -> None:
    limits = {one.metadata.name: limits_of(one, 600, 245) for one in priority_levels()}
    assert limits["exempt"].is_exempt
    assert (limits["workload-low"].seats, limits["workload-low"].lendable) == (245, 220)
    assert (limits["leader-election"].seats, limits["leader-election"].queues) == (25, 16)
    assert (limits["catch-all"].seats, limits["catch-all"].queues) == (13, 0)


async def test_one_caller_does_not_starve_another() -> None:
    flow = FlowControl(seats=20)
    levels = priority_levels()
    flow.configure(flow_schemas(), levels)
    headers: list[tuple[str, str]] = []
    refused = 0
    for _ in range(100):  # it matches nothing but the catch-all, which refuses
        try:
            await flow.seat(Caller("greedy"), asks("list", "pods"), headers).__aenter__()
        except TooManyRequests:
            refused += 1
    assert 50 < refused < 100
    async with flow.seat(caller("modest"), asks("list", "pods"), headers):
        pass


async def test_the_mandatory_objects_are_what_they_are() -> None:
    server = Server()
    flow = FlowControl()
    await create_all(server)
    await flow.follow(server.client, server.clock)
    bent = await server.client.get(FlowSchema, "catch-all")
    nowhere = PriorityLevelConfigurationReference(name="none")
    # As if it had been stored before it was refused.
    bent = replace(bent, spec=replace(bent.spec, priorityLevelConfiguration=nowhere))
    level = next(one for one in priority_levels() if one.metadata.name == "global-default")
    flow.configure([bent], [replace(level, metadata=replace(level.metadata, name="catch-all"))])
    headers: list[tuple[str, str]] = []
    async with flow.seat(Caller("nobody"), asks("list", "pods"), headers):
        pass
    assert headers[0][1] == bent.metadata.uid
    await flow.stop()


async def test_levels_follow_their_objects() -> None:
    server = Server()
    flow = FlowControl()
    await create_all(server)
    await flow.follow(server.client, server.clock)
    assert len(await server.client.list(FlowSchema)) == len(flow_schemas())
    schema = flow_schemas()[-2]
    mine = replace(
        schema,
        metadata=replace(schema.metadata, name="mine"),
        spec=replace(schema.spec, matchingPrecedence=1000),
    )
    made = await server.client.create(mine)
    headers: list[tuple[str, str]] = []
    async with flow.seat(caller("x"), asks(path="/version"), headers):
        pass
    level = await server.client.get(PriorityLevelConfiguration, "global-default")
    assert headers == [
        ("X-Kubernetes-PF-FlowSchema-UID", made.metadata.uid),
        ("X-Kubernetes-PF-PriorityLevel-UID", level.metadata.uid),
    ]
    lost = replace(
        mine,
        metadata=replace(mine.metadata, name="lost"),
        spec=replace(
            mine.spec, priorityLevelConfiguration=PriorityLevelConfigurationReference(name="none")
        ),
    )
    await server.client.create(lost)
    conditions: dict[str, str] = {}
    async with asyncio.timeout(5):
        while len(conditions) < 3:
            await asyncio.sleep(0)
            found = [
                await server.client.get(FlowSchema, name) for name in ("mine", "lost", "probes")
            ]
            conditions = {
                one.metadata.name: one.status.conditions[0].status
                for one in found
                if one.status.conditions
            }
    assert conditions == {"mine": "False", "lost": "True", "probes": "False"}
    await server.client.delete(FlowSchema, "mine")
    headers.clear()
    async with flow.seat(caller("x"), asks(path="/version"), headers):
        pass
    assert headers[0][1] != made.metadata.uid
    await flow.stop()
