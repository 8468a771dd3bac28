"""The APIServices of built-in groups."""

from fakes.harness import Harness
from msgspec.structs import replace

from kubelite.api.kinds.apiregistration import APIService, APIServiceSpec, ServiceReference
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.registry.builtin import builtin_table
from kubelite.control.api_registration import MANAGED, PRIORITIES, APIRegistration


def of(harness: Harness, name: str) -> APIService:
    found = harness.client.mirror(APIService).get(name)
    assert isinstance(found, APIService)
    return found


def test_what_is_registered_is_what_is_served() -> None:
    served = set(builtin_table().versions()) - {("apiregistration.k8s.io", "v1")}
    assert set(PRIORITIES) == served


async def test_every_group_version_is_local_and_available() -> None:
    async with Harness(APIRegistration) as harness:
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
    async with Harness(APIRegistration) as harness:
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
        assert written == 2 * len(PRIORITIES)
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
        assert not of(harness, "v1.metrics.example").status.conditions
