"""The condition Available of APIServices."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fakes.harness import Harness
from msgspec.structs import replace
from simulation.simulated_loop import simulated

from kubelite.api.kinds.apiregistration import (
    APIService,
    APIServiceCondition,
    APIServiceSpec,
    APIServiceStatus,
    ServiceReference,
)
from kubelite.api.kinds.core.services import Service, ServicePort, ServiceSpec
from kubelite.api.kinds.discovery import (
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
)
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.control.api_availability import (
    ATTEMPTS,
    LOCAL,
    PROBE_SECONDS,
    RECHECK_SECONDS,
    UNAVAILABLE,
    UNAVAILABLE_TOTAL,
    APIAvailability,
    Verdict,
    failed,
    first_success,
    revised,
    verdict,
)
from kubelite.control.options import Options
from kubelite.limits import API_PROBE_REASON

NAME = "v1.x.example.com"
URL = "https://metrics.shop.svc:443/apis/x.example.com/v1"


def api_service(service: ServiceReference | None = None, **reference: Any) -> APIService:
    if service is None and reference != {"local": True}:
        service = ServiceReference(
            name="metrics", namespace="shop", port=reference.get("port", 443)
        )
    spec = APIServiceSpec(
        group="x.example.com",
        version="v1",
        groupPriorityMinimum=100,
        versionPriority=10,
        service=service,
    )
    return APIService(metadata=ObjectMeta(name=NAME), spec=spec)


def backend(*ports: ServicePort, type: str = "ClusterIP") -> Service:  # noqa: A002 - as on the wire
    return Service(
        metadata=ObjectMeta(name="metrics", namespace="shop"),
        spec=ServiceSpec(type=type, ports=list(ports or (ServicePort(name="https", port=443),))),
    )


def endpoints(
    *ready: bool | None, port: EndpointPort | None = None, name: str = "metrics-1"
) -> EndpointSlice:
    labels = {"kubernetes.io/service-name": "metrics"}
    return EndpointSlice(
        metadata=ObjectMeta(name=name, namespace="shop", labels=labels),
        addressType="IPv4",
        endpoints=[
            Endpoint(addresses=["10.42.0.9"], conditions=EndpointConditions(ready=one))
            for one in ready
        ],
        ports=[port or EndpointPort(name="https", port=8443)],
    )


def bad(reason: str, message: str) -> Verdict:
    return Verdict("False", reason, message)


NO_ADDRESSES = bad(
    "MissingEndpoints",
    'endpointslices for service/metrics in "shop" have no addresses with port name "https"',
)


@pytest.mark.parametrize(
    ("service", "behind", "slices", "found"),
    [
        (api_service(local=True), None, [], LOCAL),
        (
            api_service(),
            None,
            [],
            bad("ServiceNotFound", 'service/metrics in "shop" is not present'),
        ),
        (
            api_service(port=444),
            backend(),
            [endpoints(True)],
            bad("ServicePortError", 'service/metrics in "shop" is not listening on port 444'),
        ),
        (
            api_service(ServiceReference(name="metrics", namespace="shop")),
            backend(),
            [],
            bad("EndpointsNotFound", 'cannot find endpointslices for service/metrics in "shop"'),
        ),
        (api_service(), backend(), [endpoints()], NO_ADDRESSES),
        (api_service(), backend(), [endpoints(False, False)], NO_ADDRESSES),
        (
            api_service(),
            backend(),
            [endpoints(True, port=EndpointPort(name="http", port=80))],
            NO_ADDRESSES,
        ),
        (
            api_service(),
            backend(),
            [endpoints(True, port=EndpointPort(name="https"))],
            NO_ADDRESSES,
        ),
        # Of two slices neither has both an address and the port.
        (
            api_service(),
            backend(),
            [endpoints(False), endpoints(True, port=EndpointPort(name="other", port=1))],
            NO_ADDRESSES,
        ),
        (
            api_service(),
            backend(ServicePort(port=443)),
            [endpoints(True)],
            bad(
                "MissingEndpoints",
                'endpointslices for service/metrics in "shop" have no addresses with port name ""',
            ),
        ),
        (api_service(), backend(), [endpoints(True)], None),
        (api_service(), backend(), [endpoints(None)], None),
        (api_service(), backend(), [endpoints(False), endpoints(False, True)], None),
        (
            api_service(),
            backend(ServicePort(port=443)),
            [endpoints(True, port=EndpointPort(name="", port=1))],
            None,
        ),
        # Whoever is behind another type of Service can only be asked.
        (api_service(port=444), backend(type="ExternalName"), [], None),
        (api_service(), backend(type="NodePort"), [], None),
        (api_service(), backend(type="LoadBalancer"), [], None),
    ],
)
def test_what_the_objects_tell(
    service: APIService, behind: Service | None, slices: list[EndpointSlice], found: Verdict | None
) -> None:
    assert verdict(service, behind, slices) == found


def said(*conditions: APIServiceCondition) -> APIService:
    return replace(api_service(), status=APIServiceStatus(conditions=list(conditions)))


def condition(status: str, reason: str, message: str = "m", since: str = "then") -> Any:
    return APIServiceCondition(
        type="Available", status=status, reason=reason, message=message, lastTransitionTime=since
    )


OTHER = APIServiceCondition(type="Other", status="True")


@pytest.mark.parametrize(
    ("before", "found", "after"),
    [
        ([], Verdict("True", "a", "m"), [condition("True", "a", since="now")]),
        ([condition("True", "a")], Verdict("True", "a", "m"), None),
        (
            [condition("True", "a"), OTHER],
            Verdict("False", "b", "m"),
            [condition("False", "b", since="now"), OTHER],
        ),
        # The date is that of the last change of the status alone.
        (
            [OTHER, condition("False", "a")],
            Verdict("False", "b", "n"),
            [OTHER, condition("False", "b", "n")],
        ),
        ([condition("False", "a")], Verdict("False", "a", "n"), [condition("False", "a", "n")]),
    ],
)
def test_what_is_written(before: Any, found: Verdict, after: Any) -> None:
    changed = revised(said(*before), found, "now")
    assert (changed.status.conditions if changed else None) == after


def test_what_a_server_answers_is_cut() -> None:
    times = API_PROBE_REASON.times_reached
    found = failed("x" * 100_000)
    assert len(found.message) == API_PROBE_REASON.value + 3
    assert API_PROBE_REASON.times_reached == times + 1


class Backend:
    """A server that is asked; `answer` returns the answer to the nth question."""

    def __init__(self, answer: Callable[[int], str] = lambda _: "") -> None:
        self.answer = answer
        self.asked = 0
        self.seconds = 0.0
        self.under_way = 0
        self.most_under_way = 0

    async def probe(self, service: APIService) -> str:
        assert service.metadata.name == NAME
        self.asked += 1
        number = self.asked
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.under_way -= 1
        return self.answer(number)


def available(harness: Harness) -> tuple[str, str, str]:
    found = harness.client.mirror(APIService).get(NAME)
    assert found is not None
    (one,) = found.status.conditions
    return one.status, one.reason, one.message


PASSED = ("True", "Passed", "all checks passed")


def harness_of(server: Backend | None) -> Harness:
    return Harness(APIAvailability, options=Options(probe_api_service=server))


async def served(harness: Harness) -> None:
    await harness.client.create(backend())
    await harness.client.create(endpoints(True))
    await harness.client.create(api_service())


async def pass_seconds(harness: Harness, seconds: float) -> None:
    """Let time pass; a probe may still be under way afterwards."""
    harness.clock.advance(seconds)
    await asyncio.sleep(seconds)


@simulated
async def test_the_condition_follows_the_objects() -> None:
    server = Backend()
    async with harness_of(server) as harness:
        client = harness.client
        await client.create(api_service())
        await harness.settle()
        assert available(harness)[1] == "ServiceNotFound"
        await client.create(backend())
        await harness.settle()
        assert available(harness)[1] == "EndpointsNotFound"
        made = await client.create(endpoints(False))
        await harness.settle()
        assert available(harness)[1] == "MissingEndpoints"
        assert server.asked == 0
        await client.update(replace(made, endpoints=endpoints(True).endpoints))
        await harness.settle()
        assert available(harness) == PASSED
        assert server.asked == 1
        await client.delete(Service, "metrics", "shop")
        await harness.settle()
        assert available(harness)[1] == "ServiceNotFound"


@simulated
async def test_a_local_one_is_available_also_after_a_change() -> None:
    async with harness_of(Backend()) as harness:
        await harness.client.create(api_service())
        await harness.settle()
        current = await harness.client.get(APIService, NAME)
        await harness.client.update(replace(current, spec=replace(current.spec, service=None)))
        await harness.settle()
        assert available(harness) == ("True", "Local", "Local APIServices are always available")


@simulated
async def test_without_a_probe_a_ready_endpoint_is_enough() -> None:
    async with harness_of(None) as harness:
        await served(harness)
        await harness.settle()
        assert available(harness) == PASSED


@simulated
async def test_a_healthy_server_is_asked_once_each_half_minute_and_nothing_is_written() -> None:
    server = Backend()
    async with harness_of(server) as harness:
        await served(harness)
        await harness.settle()
        written = len(harness.client.writes)
        await pass_seconds(harness, 10 * RECHECK_SECONDS + 1)
        assert server.asked == 11
        assert len(harness.client.writes) == written


@simulated
async def test_a_server_that_dies_without_a_change_is_noticed_and_asked_with_back_off() -> None:
    server = Backend()
    async with harness_of(server) as harness:
        await served(harness)
        await harness.settle()
        count = UNAVAILABLE_TOTAL.labelled(NAME, "FailedDiscoveryCheck")
        before = count.value
        server.answer = lambda _: "connection refused"
        await pass_seconds(harness, RECHECK_SECONDS + 0.001)
        assert available(harness) == ("False", "FailedDiscoveryCheck", "connection refused")
        assert server.asked == 1 + ATTEMPTS
        assert list(UNAVAILABLE.read() if UNAVAILABLE.read else []) == [((NAME,), 1.0)]
        assert count.value == before + 1
        written = len(harness.client.writes)
        await pass_seconds(harness, 3600)
        # Thirteen times while the pauses double from 5 ms, then twice a minute.
        assert (server.asked - 1) / ATTEMPTS < 140
        assert len(harness.client.writes) == written
        server.answer = lambda _: ""
        await pass_seconds(harness, RECHECK_SECONDS + 1)
        assert available(harness) == PASSED
        assert list(UNAVAILABLE.read() if UNAVAILABLE.read else []) == [((NAME,), 0.0)]


@simulated
async def test_one_good_answer_of_several_is_enough() -> None:
    server = Backend(lambda number: "" if number == 3 else "bad status: 500")
    async with harness_of(server) as harness:
        await served(harness)
        await harness.settle()
        assert available(harness) == PASSED


@simulated
async def test_a_server_that_hangs_is_given_up_and_what_was_asked_ends() -> None:
    server = Backend()
    server.seconds = 1e9
    async with harness_of(server) as harness:
        await served(harness)
        await pass_seconds(harness, PROBE_SECONDS + 1.5)
        message = f"timed out waiting for {URL}"
        assert available(harness) == ("False", "FailedDiscoveryCheck", message)
        await pass_seconds(harness, 600)
        assert server.most_under_way == ATTEMPTS
    assert server.under_way == 0


@simulated
async def test_a_slow_server_is_given_a_second_chance_before_the_first_has_failed() -> None:
    server = Backend()
    server.seconds = 3
    assert await first_success(lambda: server.probe(api_service())) == ""
    assert server.asked == ATTEMPTS
    assert server.under_way == 0


@simulated
async def test_a_server_that_flaps_is_asked_once_more_for_all_changes_meanwhile() -> None:
    server = Backend()
    server.seconds = 0.5
    async with harness_of(server) as harness:
        await served(harness)
        await asyncio.sleep(0.1)
        current = await harness.client.get(EndpointSlice, "metrics-1", "shop")
        for number in range(101):
            flapped = endpoints(number % 2 == 0).endpoints
            current = await harness.client.update(replace(current, endpoints=flapped))
        await pass_seconds(harness, 2)
        assert server.asked == 2
        assert available(harness) == PASSED
        assert [verb for verb, kind, _ in harness.client.writes if kind == "APIService"] == [
            "create",
            "status",
        ]


@simulated
async def test_a_verdict_about_an_earlier_spec_is_not_written() -> None:
    server = Backend(lambda number: "" if number == 1 else "bad status: 404")
    server.seconds = 0.5
    async with harness_of(server) as harness:
        await served(harness)
        await asyncio.sleep(0.1)
        current = await harness.client.get(APIService, NAME)
        spec = replace(current.spec, insecureSkipTLSVerify=True)
        await harness.client.update(replace(current, spec=spec))
        await pass_seconds(harness, 2)
        assert available(harness)[1] == "FailedDiscoveryCheck"


@simulated
async def test_what_somebody_else_writes_there_is_put_right() -> None:
    server = Backend()
    async with harness_of(server) as harness:
        await served(harness)
        await harness.settle()
        current = await harness.client.get(APIService, NAME)
        lie = condition("False", "Lie")
        await harness.client.update(
            replace(current, status=APIServiceStatus(conditions=[lie])), "status"
        )
        await harness.settle()
        assert available(harness) == PASSED


@simulated
async def test_what_concerns_no_api_service_costs_nothing() -> None:
    server = Backend()
    async with harness_of(server) as harness:
        await served(harness)
        await harness.settle()
        other = replace(endpoints(True), metadata=ObjectMeta(name="other", namespace="shop"))
        await harness.client.create(other)
        meta = ObjectMeta(name="metrics", namespace="elsewhere")
        await harness.client.create(replace(backend(), metadata=meta))
        await harness.settle()
        assert server.asked == 1
        await harness.client.delete(APIService, NAME)
        await pass_seconds(harness, 100)
        assert server.asked == 1
