import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fakes.harness import Harness
from simulation.simulated_loop import simulated

from kubelite.api.kinds.core.config import Secret
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.machinery.join_secrets import Binding, binding_of, identity_secret
from kubelite.control.node_identities import NodeIdentityController, Step, next_step

NOW = datetime(2026, 9, 1, tzinfo=UTC)
FRESH = Binding("k", NOW)
REGISTERED = Binding("k", NOW, node_uid="u1")
HOUR, YEAR = timedelta(hours=1), timedelta(days=366)


@pytest.mark.parametrize(
    ("binding", "node_uid", "now", "step"),
    [
        (FRESH, "", NOW, Step(again_seconds=3600)),
        (FRESH, "", NOW + HOUR, Step("write", Binding("k", NOW, "", NOW + HOUR))),
        (FRESH, "u1", NOW, Step("write", REGISTERED)),
        (FRESH, "u1", NOW + YEAR, Step("write", REGISTERED)),
        (REGISTERED, "u1", NOW + YEAR, Step()),
        (REGISTERED, "", NOW, Step("write", Binding("k", NOW, "u1", NOW))),
        (REGISTERED, "u2", NOW, Step("write", Binding("k", NOW, "u1", NOW))),
        (Binding("k", NOW, "u1", NOW), "", NOW, Step(again_seconds=YEAR.total_seconds())),
        (Binding("k", NOW, "u1", NOW), "u2", NOW, Step(again_seconds=YEAR.total_seconds())),
        (Binding("k", NOW, "u1", NOW), "", NOW + YEAR, Step("delete")),
    ],
)
def test_the_life_of_a_binding(binding: Binding, node_uid: str, now: datetime, step: Step) -> None:
    assert next_step(binding, node_uid, now) == step


async def pass_time(harness: Harness, time: timedelta) -> None:
    await harness.settle()  # so that delays are counted from the old date
    harness.clock.advance(time.total_seconds())
    await asyncio.sleep(time.total_seconds())


def binding_in(harness: Harness) -> Binding | None:
    found: Any = harness.client.all(Secret)
    return binding_of(found[0]) if found else None


@simulated
async def test_a_machine_that_never_registers_loses_its_name() -> None:
    async with Harness(NodeIdentityController) as harness:
        await harness.client.create(identity_secret("one", Binding("k", harness.clock.now())))
        await pass_time(harness, HOUR - timedelta(seconds=1))
        assert binding_in(harness) == Binding(
            "k", harness.clock.now() - HOUR + timedelta(seconds=1)
        )
        await pass_time(harness, timedelta(seconds=2))
        released = binding_in(harness)
        assert released is not None
        assert released.released_at is not None


@simulated
async def test_what_was_released_is_forgotten_in_time() -> None:
    async with Harness(NodeIdentityController) as harness:
        now = harness.clock.now()
        long_ago = Binding("k", now - 2 * YEAR, "u1", now - YEAR + HOUR)
        await harness.client.create(identity_secret("one", long_ago))
        await pass_time(harness, HOUR - timedelta(seconds=1))
        assert binding_in(harness) == long_ago
        await pass_time(harness, timedelta(seconds=2))
        assert binding_in(harness) is None


@simulated
async def test_a_name_is_free_when_its_node_is_deleted() -> None:
    async with Harness(NodeIdentityController) as harness:
        await harness.client.create(identity_secret("one", Binding("k", harness.clock.now())))
        await harness.client.create(Node(metadata=ObjectMeta(name="one")))
        await pass_time(harness, 2 * HOUR)
        registered = binding_in(harness)
        assert registered is not None
        assert registered.node_uid
        assert registered.released_at is None
        await harness.client.delete(Node, "one")
        await harness.settle()
        released = binding_in(harness)
        assert released is not None
        assert released.released_at is not None


@simulated
async def test_nodes_without_a_binding_and_secrets_that_are_none_are_left_alone() -> None:
    async with Harness(NodeIdentityController) as harness:
        await harness.client.create(Node(metadata=ObjectMeta(name="one")))
        odd = identity_secret("two", Binding("", harness.clock.now()))
        await harness.client.create(odd)
        await harness.client.delete(Node, "one")
        await pass_time(harness, 2 * HOUR)
        (left,) = harness.client.all(Secret)
        assert left.data == odd.data
