"""The controller that keeps the objects which must be there, and the guard of the default range."""

import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest
from fakes.harness import Harness
from msgspec.structs import replace
from simulation.simulated_loop import simulated

from kubelite.api.errors import Forbidden
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.services import Service, ServiceSpec
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.networking import IPAddress, ServiceCIDR, ServiceCIDRSpec
from kubelite.control.needs import Need, SystemObjects
from kubelite.control.options import Options
from kubelite.control.service_cidr import FINALIZER, ServiceCIDRController, is_needed
from kubelite.control.system_objects import SystemObjectsController


def service(name: str, address: str = "") -> Service:
    return Service(
        metadata=ObjectMeta(name=name, namespace="default"), spec=ServiceSpec(clusterIP=address)
    )


def holder(reader: Any) -> Service | None:
    return next((one for one in reader.list(Service) if one.metadata.name == "rival"), None)


def need(**fields: Any) -> Need:
    made = {"make": lambda: service("main", "10.0.0.1"), "namespace": "default", **fields}
    return Need(Service, "main", **made)


class Counting:
    """Refuses to create the Service while another has its place, and counts the attempts."""

    def __init__(self, harness: Harness) -> None:
        self.attempts: list[float] = []
        self._create = harness.client.create
        self._client = harness.client
        harness.client.create = self.create  # type: ignore[method-assign]  # a fault of the API

    async def create(self, item: Any) -> Any:
        if isinstance(item, Service) and item.metadata.name == "main":
            self.attempts.append(asyncio.get_running_loop().time())
            if any(one.metadata.name == "rival" for one in self._client.all(Service)):
                raise Forbidden("taken")
        return await self._create(item)


@simulated
async def test_what_is_missing_is_made_and_comes_back() -> None:
    options = Options(system=SystemObjects([need()]))
    async with Harness(SystemObjectsController, options=options) as harness:
        assert [one.metadata.name for one in harness.client.all(Service)] == ["main"]
        await harness.client.delete(Service, "main", "default")
        await harness.settle()
        assert [one.metadata.name for one in harness.client.all(Service)] == ["main"]


@simulated
async def test_what_stands_in_the_way_is_told_once_and_looked_at_ever_more_rarely(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    system = SystemObjects([need(rival=holder)])
    async with Harness(SystemObjectsController, options=Options(system=system)) as harness:
        await harness.client.create(service("rival"))
        counting = Counting(harness)
        await harness.client.delete(Service, "main", "default")
        await asyncio.sleep(3600)
        # 0.05 s doubling to a minute: some 70 attempts in an hour.
        assert 60 < len(counting.attempts) < 80
        told = [record.getMessage() for record in caplog.records]
        assert told == ["system object is missing or wrong"]
        assert system.problem == "Service default/main: Service default/rival has its place: taken"
        [event] = harness.client.all(Event)
        assert (event.involvedObject.name, event.type) == ("rival", "Warning")
        assert "The cluster needs Service default/main" in event.message
        before = asyncio.get_running_loop().time()
        await harness.client.delete(Service, "rival", "default")
        await harness.settle()
        assert asyncio.get_running_loop().time() == before  # at once, not when the pause is over
        assert system.problem == ""
        assert [one.metadata.name for one in harness.client.all(Service)] == ["main"]
        assert told[1:] == []
        assert caplog.records[-1].getMessage() == "system object is right again"


@simulated
async def test_a_complaint_is_an_event_on_the_object_and_not_retried() -> None:
    wrong = need(complaint=lambda stored: "odd" if stored.spec.clusterIP != "10.0.0.1" else "")
    system = SystemObjects([wrong])
    async with Harness(SystemObjectsController, options=Options(system=system)) as harness:
        await harness.client.delete(Service, "main", "default")
        await harness.client.create(service("main", "10.0.0.9"))
        await asyncio.sleep(3600)
        assert system.problem == "Service default/main: odd"
        [event] = harness.client.all(Event)
        assert (event.involvedObject.name, event.reason) == ("main", "SystemObjectInconsistent")


@simulated
async def test_what_is_wanted_may_change() -> None:
    wanted = ["10.0.0.1"]
    follows = need(make=lambda: service("main", wanted[0]))
    follows = Need(
        Service,
        "main",
        follows.make,
        "default",
        lambda stored: service("main", wanted[0]) if stored.spec.clusterIP != wanted[0] else stored,
    )
    system = SystemObjects([follows])
    async with Harness(SystemObjectsController, options=Options(system=system)) as harness:
        wanted[0] = "10.0.0.2"
        await harness.settle()
        assert harness.client.all(Service)[0].spec.clusterIP == "10.0.0.1"
        system.changed(follows.key)
        await harness.settle()
        assert harness.client.all(Service)[0].spec.clusterIP == "10.0.0.2"


def cidr(name: str, *cidrs: str) -> ServiceCIDR:
    return ServiceCIDR(metadata=ObjectMeta(name=name), spec=ServiceCIDRSpec(cidrs=list(cidrs)))


def address(text: str) -> IPAddress:
    return IPAddress(metadata=ObjectMeta(name=text))


@pytest.mark.parametrize(
    ("others", "addresses", "needed"),
    [
        ((), (), False),
        ((), ("10.43.0.1",), True),
        ((), ("10.99.0.1",), False),
        (("10.43.0.0/16",), ("10.43.0.1",), False),
        (("10.0.0.0/8",), ("10.43.0.1",), False),
        (("10.43.0.0/24",), ("10.43.0.1",), False),
        (("10.43.0.0/24",), ("10.43.1.1",), True),
        (("fd00::/112",), ("10.43.0.1",), True),
    ],
)
def test_when_a_range_may_go(
    others: tuple[str, ...], addresses: tuple[str, ...], needed: bool
) -> None:
    rest = [cidr(str(number), text) for number, text in enumerate(others)]
    held = [address(text) for text in addresses]
    assert is_needed(cidr("kubernetes", "10.43.0.0/16"), rest, held) is needed


@simulated
async def test_the_default_range_is_guarded_until_nothing_needs_it() -> None:
    async with Harness(ServiceCIDRController) as harness:
        client = harness.client
        await client.create(address("10.43.0.1"))
        await client.create(cidr("kubernetes", "10.43.0.0/16"))
        await client.create(cidr("mine", "10.50.0.0/24"))
        await harness.settle()

        async def state(name: str) -> tuple[list[str], list[tuple[str, str]]]:
            item = await client.get(ServiceCIDR, name)
            conditions = [(one.status, one.reason) for one in item.status.conditions]
            return item.metadata.finalizers, conditions

        assert await state("kubernetes") == ([FINALIZER], [("True", "")])
        assert await state("mine") == ([FINALIZER], [("True", "")])
        await client.delete(ServiceCIDR, "kubernetes")
        await harness.settle()
        assert await state("kubernetes") == ([FINALIZER], [("False", "Terminating")])
        await client.delete(IPAddress, "10.43.0.1")
        await harness.settle()
        assert await state("kubernetes") == ([FINALIZER], [("False", "Terminating")])
        harness.clock.advance(timedelta(seconds=11).total_seconds())
        await asyncio.sleep(11)
        assert [one.metadata.name for one in client.all(ServiceCIDR)] == ["mine"]


@simulated
async def test_of_config_maps_only_the_required_one_is_held() -> None:
    def made() -> ConfigMap:
        return ConfigMap(metadata=ObjectMeta(name="main", namespace="default"), data={"a": "b"})

    wanted = Need(
        ConfigMap, "main", made, "default", lambda stored: replace(stored, data={"a": "b"})
    )
    options = Options(system=SystemObjects([wanted, need()]))
    async with Harness(SystemObjectsController, options=options) as harness:
        client = harness.client
        assert client.whole(ConfigMap).readers == 0
        for namespace in ("default", "other"):
            meta = ObjectMeta(name="mine", namespace=namespace)
            await client.create(ConfigMap(metadata=meta))
        current = await client.get(ConfigMap, "main", "default")
        await client.update(replace(current, data={}))
        await harness.settle()
        assert (await client.get(ConfigMap, "main", "default")).data == {"a": "b"}
        await client.delete(ConfigMap, "main", "default")
        await harness.settle()
        assert (await client.get(ConfigMap, "main", "default")).data == {"a": "b"}
        assert not options.system.problems
