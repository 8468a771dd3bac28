"""The APIServices of what this server serves itself."""

from typing import Any

import pytest
from fakes.definitions import defined
from fakes.harness import Harness
from msgspec.structs import replace

from kubelite.api.kinds.apiextensions import CustomResourceDefinition
from kubelite.api.kinds.apiregistration import APIService, APIServiceSpec, ServiceReference
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.registry.builtin import builtin_table
from kubelite.control.api_availability import APIAvailability
from kubelite.control.api_registration import (
    MANAGED,
    PRIORITIES,
    APIRegistration,
    Registration,
    custom,
    plan,
)
from kubelite.control.options import Options


def of(harness: Harness, name: str) -> APIService:
    found = harness.client.mirror(APIService).get(name)
    assert isinstance(found, APIService)
    return found


def test_what_is_registered_is_what_is_served() -> None:
    served = set(builtin_table().versions()) - {("apiregistration.k8s.io", "v1")}
    assert set(PRIORITIES) == served


async def test_every_group_version_is_local_and_available() -> None:
    async with Harness(APIRegistration, APIAvailability) as harness:
        services = harness.client.all(APIService)
        assert {one.metadata.name for one in services} == {
            f"{version}.{group}" for group, version in PRIORITIES
        }
        for service in services:
            (condition,) = service.status.conditions
            assert (condition.type, condition.status) == ("Available", "True")
            assert (condition.reason, condition.message) == (
                "Local",
                "Local APIServices are always available",
            )
            assert service.spec.service is None
        autoscaling = of(harness, "v2.autoscaling")
        assert autoscaling.spec.groupPriorityMinimum == 17500
        assert autoscaling.spec.versionPriority == 30
        assert autoscaling.metadata.labels == {MANAGED: "onstart"}


async def test_one_that_is_deleted_comes_back() -> None:
    async with Harness(APIRegistration, APIAvailability) as harness:
        await harness.client.delete(APIService, "v1.apps")
        await harness.settle()
        assert of(harness, "v1.apps").status.conditions


async def test_one_that_is_changed_is_put_right() -> None:
    async with Harness(APIRegistration) as harness:
        before = of(harness, "v1.apps")
        spec = replace(before.spec, versionPriority=1)
        await harness.client.update(replace(before, spec=spec))
        await harness.settle()
        assert of(harness, "v1.apps").spec == before.spec


async def test_nothing_is_written_when_all_is_right() -> None:
    async with Harness(APIRegistration) as harness:
        written = len(harness.client.writes)
        assert written == len(PRIORITIES)
        service = of(harness, "v1.apps")
        labels = {**service.metadata.labels, "mine": "too"}
        await harness.client.update(
            replace(service, metadata=replace(service.metadata, labels=labels))
        )
        await harness.settle()
        assert len(harness.client.writes) == written + 1


async def test_one_that_a_user_took_over_is_left_alone() -> None:
    async with Harness(APIRegistration) as harness:
        spec = APIServiceSpec(
            group="apps", version="v1", service=ServiceReference(name="mine", namespace="default")
        )
        taken = replace(of(harness, "v1.apps"), spec=spec)
        taken = replace(taken, metadata=replace(taken.metadata, labels={}))
        await harness.client.update(taken)
        await harness.settle()
        assert of(harness, "v1.apps").spec == spec


async def test_those_of_other_servers_are_none_of_its_business() -> None:
    async with Harness(APIRegistration) as harness:
        meta = ObjectMeta(name="v1.metrics.example", labels={MANAGED: "onstart"})
        await harness.client.create(APIService(metadata=meta))
        await harness.settle()
        assert of(harness, "v1.metrics.example").metadata.labels == {MANAGED: "onstart"}


CUSTOM = custom("v1.example.com")
BUILT_IN = Registration(
    APIServiceSpec(group="x", version="v1", groupPriorityMinimum=1, versionPriority=1), "onstart"
)


def service(
    label: str | None, spec: APIServiceSpec = CUSTOM.spec, deleted: str | None = None
) -> APIService:
    labels = {} if label is None else {MANAGED: label}
    return APIService(
        metadata=ObjectMeta(name="v1.example.com", labels=labels, deletionTimestamp=deleted),
        spec=spec,
    )


TAKEN = replace(CUSTOM.spec, service=ServiceReference(name="mine", namespace="default"))


@pytest.mark.parametrize(
    ("wanted", "current", "is_leftover", "verb"),
    [
        (None, None, False, ""),
        (CUSTOM, None, False, "create"),
        (BUILT_IN, None, False, "create"),
        (CUSTOM, service("true"), False, ""),
        (CUSTOM, service("true", TAKEN), False, "update"),
        (CUSTOM, service("onstart", TAKEN), False, "update"),
        (CUSTOM, service(None, TAKEN), False, ""),  # a user's
        (CUSTOM, service("perhaps", TAKEN), False, ""),
        (None, service(None, TAKEN), False, ""),
        (None, service("true"), False, "delete"),
        (None, service("true", deleted="2026-01-01T00:00:00Z"), False, ""),
        (None, service("onstart"), False, ""),  # of another server that registers its groups
        (None, service("onstart"), True, "delete"),  # of an earlier version of this server
        (None, service(None), True, ""),
    ],
)
def test_what_is_written(
    wanted: Registration | None, current: APIService | None, is_leftover: bool, verb: str
) -> None:
    decided = plan("v1.example.com", wanted, current, is_leftover=is_leftover)
    assert (decided.verb if decided else "") == verb


async def test_a_group_version_of_custom_resources_comes_and_goes_with_its_definitions() -> None:
    async with Harness(APIRegistration) as harness:
        client = harness.client
        await client.create(defined("foos"))
        await client.create(defined("bars"))
        await harness.settle()
        made = of(harness, "v1.example.com")
        assert made.metadata.labels == {MANAGED: "true"}
        assert made.spec == APIServiceSpec(
            group="example.com", version="v1", groupPriorityMinimum=1000, versionPriority=100
        )
        await client.delete(CustomResourceDefinition, "foos.example.com")
        await harness.settle()
        assert client.mirror(APIService).get("v1.example.com") is not None
        await client.delete(CustomResourceDefinition, "bars.example.com")
        await harness.settle()
        assert client.mirror(APIService).get("v1.example.com") is None


async def test_a_version_that_is_no_longer_served_is_no_longer_registered() -> None:
    async with Harness(APIRegistration) as harness:
        client = harness.client
        made = await client.create(defined("foos"))
        await harness.settle()
        written = len(client.writes)
        # What a definition's status says has nothing to do with it.
        made = await client.update(
            replace(made, status=replace(made.status, storedVersions=["v1"]))
        )
        await harness.settle()
        assert len(client.writes) == written + 1
        versions = [replace(one, served=False) for one in made.spec.versions]
        await client.update(replace(made, spec=replace(made.spec, versions=versions)))
        await harness.settle()
        assert client.mirror(APIService).get("v1.example.com") is None


async def test_what_a_user_takes_over_comes_back_when_he_leaves() -> None:
    async with Harness(APIRegistration) as harness:
        client = harness.client
        await client.create(defined("foos"))
        await harness.settle()
        local = of(harness, "v1.example.com")
        metadata = replace(local.metadata, labels={})
        await client.update(replace(local, metadata=metadata, spec=TAKEN))
        await harness.settle()
        assert of(harness, "v1.example.com").spec == TAKEN
        # Definitions that come and go meanwhile do not matter.
        await client.delete(CustomResourceDefinition, "foos.example.com")
        await client.create(defined("bars"))
        await harness.settle()
        assert of(harness, "v1.example.com").spec == TAKEN
        await client.delete(APIService, "v1.example.com")
        await harness.settle()
        assert of(harness, "v1.example.com").spec == CUSTOM.spec


async def test_a_definition_in_a_built_in_group_changes_nothing() -> None:
    async with Harness(APIRegistration) as harness:
        before = of(harness, "v1.apps")
        await harness.client.create(defined("foos", group="apps"))
        await harness.settle()
        assert of(harness, "v1.apps") == before
        await harness.client.delete(CustomResourceDefinition, "foos.apps")
        await harness.settle()
        assert of(harness, "v1.apps") == before


async def test_what_an_earlier_version_registered_goes_at_the_start() -> None:
    harness = Harness(APIRegistration)
    for name, label in (("v1beta1.apps", "onstart"), ("v1.gone.example", "true")):
        meta = ObjectMeta(name=name, labels={MANAGED: label})
        await harness.client.create(APIService(metadata=meta))
    async with harness:
        names = {one.metadata.name for one in harness.client.all(APIService)}
        assert names == {f"{version}.{group}" for group, version in PRIORITIES}


async def test_a_thousand_definitions_cost_a_write_for_each_group_version_and_none_later() -> None:
    harness = Harness(APIRegistration)
    for number in range(1000):
        await harness.client.create(defined(f"foo{number}s", group=f"g{number % 100}.example.com"))
    before = len(harness.client.writes)
    async with harness:
        assert len(harness.client.writes) - before == len(PRIORITIES) + 100
        other = await harness.client.create(defined("bars", group="g1.example.com"))
        await harness.client.delete(CustomResourceDefinition, other.metadata.name)
        await harness.settle()
        assert len(harness.client.writes) - before == len(PRIORITIES) + 102


def own_metrics(**spec: Any) -> APIService:
    registered = APIServiceSpec(
        group="metrics.k8s.io",
        version="v1beta1",
        groupPriorityMinimum=100,
        versionPriority=100,
        **spec,
    )
    metadata = ObjectMeta(name="v1beta1.metrics.k8s.io", labels={MANAGED: "onstart"})
    return APIService(metadata=metadata, spec=registered)


async def test_metrics_are_registered_where_they_are_served() -> None:
    async with Harness(APIRegistration, options=Options(serves_metrics=True)) as harness:
        registered = of(harness, "v1beta1.metrics.k8s.io")
        assert registered.spec == own_metrics().spec


async def test_a_metrics_server_applied_on_top_is_left_alone_and_ours_comes_back() -> None:
    """An apply keeps the label that says that the APIService is ours."""
    async with Harness(APIRegistration, options=Options(serves_metrics=True)) as harness:
        service = ServiceReference(namespace="kube-system", name="metrics-server", port=443)
        theirs = replace(
            of(harness, "v1beta1.metrics.k8s.io"),
            spec=own_metrics(service=service, insecureSkipTLSVerify=True).spec,
        )
        await harness.client.update(theirs)
        await harness.settle()
        left = of(harness, "v1beta1.metrics.k8s.io")
        assert left.spec.service == service
        assert left.spec.insecureSkipTLSVerify
        await harness.client.delete(APIService, "v1beta1.metrics.k8s.io")
        await harness.settle()
        assert of(harness, "v1beta1.metrics.k8s.io").spec == own_metrics().spec
