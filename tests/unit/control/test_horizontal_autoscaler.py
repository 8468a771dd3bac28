"""The controller of HorizontalPodAutoscalers on real verbs, with a server of metrics that tests set."""

import subprocess
import sys
from typing import Any

import msgspec
import pytest
from fakes.custom_resources import serve_gadgets
from fakes.metrics import FakeMetrics, pod_metrics
from fakes.real_harness import RealHarness

from kubelite.api.errors import Conflict, ServiceUnavailable
from kubelite.api.kinds.apps import Deployment
from kubelite.api.kinds.autoscaling_v2 import HorizontalPodAutoscaler
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.times import format_time
from kubelite.control.horizontal_autoscaler import HorizontalAutoscalerController
from kubelite.control.runtime import Key

PODS = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods"


def cpu(percent: int) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


class World:
    """A Deployment with its pods, and an autoscaler of it."""

    def __init__(self, harness: RealHarness, metrics: FakeMetrics) -> None:
        self.harness = harness
        self.server = harness.server
        self.client = harness.server.client
        self.metrics = metrics

    async def deployment(self, name: str = "web", replicas: int = 2) -> None:
        labels = {"app": "web"}
        container = {
            "name": "c",
            "image": "i",
            "resources": {"requests": {"cpu": "100m", "memory": "100Mi"}},
        }
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        await self.server.create(
            "apps/v1/deployments",
            {
                "metadata": {"name": name, "namespace": "default"},
                "spec": {
                    "replicas": replicas,
                    "selector": {"matchLabels": labels},
                    "template": template,
                },
            },
        )
        status = {"status": {"replicas": replicas}}
        await self.client.patch(Deployment, name, status, "default", subresource="status")
        for number in range(replicas):
            await self.pod(f"p{number}", template["spec"])

    async def pod(self, name: str, spec: Any) -> None:
        old = format_time(self.server.clock.now())
        metadata = {"name": name, "namespace": "default", "labels": {"app": "web"}}
        await self.server.create("v1/pods", {"metadata": metadata, "spec": spec})
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": old}
        status = {"phase": "Running", "startTime": old, "conditions": [ready]}
        await self.client.patch(Pod, name, {"status": status}, "default", subresource="status")

    def use(self, **usage: str) -> None:
        """Let each pod use so much, given as ``p0_cpu="50m"``."""
        by_pod: dict[str, dict[str, str]] = {}
        for key, text in usage.items():
            name, resource = key.split("_")
            by_pod.setdefault(name, {})[resource] = text
        at = format_time(self.server.clock.now())
        items = [pod_metrics(name, at=at, **use) for name, use in by_pod.items()]
        self.metrics.pages[PODS] = {"kind": "PodMetricsList", "items": items}

    async def autoscaler(self, *given: Any, name: str = "hpa", **spec: Any) -> None:
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
        await self.server.create(
            "autoscaling/v2/horizontalpodautoscalers",
            {
                "metadata": {"name": name, "namespace": "default"},
                "spec": {
                    "scaleTargetRef": target,
                    "maxReplicas": 10,
                    "metrics": [*given],
                    **spec,
                },
            },
        )
        await self.harness.settle()

    async def tick(self, seconds: float = 15) -> None:
        """Let time pass, and evaluate again."""
        self.server.clock.advance(seconds)
        queue = self.harness.runtime._running[0].context.queue
        for one in self.client.mirror(HorizontalPodAutoscaler).list():
            queue.add(Key(one.metadata.namespace, one.metadata.name))
        await self.harness.settle()

    async def found(self, name: str = "hpa") -> HorizontalPodAutoscaler:
        return await self.client.get(HorizontalPodAutoscaler, name, "default")

    async def replicas(self) -> int | None:
        return (await self.client.get(Deployment, "web", "default")).spec.replicas

    async def conditions(self, name: str = "hpa") -> dict[str, tuple[str, str, str]]:
        status = (await self.found(name)).status
        return {one.type: (one.status, one.reason, one.message) for one in status.conditions}

    async def events(self) -> set[tuple[str, str]]:
        return {(one.reason, one.message) for one in await self.client.list(Event)}


class worlds:  # noqa: N801 - read as a function
    """A running controller with a Deployment of two pods, on whose clock an hour has passed."""

    def __init__(self, replicas: int = 2) -> None:
        self._metrics = FakeMetrics()
        self._harness = RealHarness(HorizontalAutoscalerController, delegated=self._metrics)
        self._replicas = replicas

    async def __aenter__(self) -> World:
        await self._harness.__aenter__()
        world = World(self._harness, self._metrics)
        if self._replicas:
            await world.deployment(replicas=self._replicas)
        self._harness.server.clock.advance(3600)
        return world

    async def __aexit__(self, *_: object) -> None:
        await self._harness.__aexit__()


async def test_load_adds_pods() -> None:
    async with worlds() as world:
        world.use(p0_cpu="90m", p1_cpu="70m")
        await world.autoscaler(cpu(50))
        assert await world.replicas() == 4
        status = (await world.found()).status
        assert (status.currentReplicas, status.desiredReplicas) == (2, 4)
        assert status.lastScaleTime == format_time(world.server.clock.now())
        (metric,) = status.currentMetrics
        assert metric.resource is not None
        current = metric.resource.current
        assert (current.averageUtilization, current.averageValue) == (80, "80m")
        assert await world.conditions() == {
            "AbleToScale": (
                "True",
                "SucceededRescale",
                "the HPA controller was able to update the target scale to 4",
            ),
            "ScalingActive": (
                "True",
                "ValidMetricFound",
                (
                    "the HPA was able to successfully calculate a replica count from "
                    "cpu resource utilization (percentage of request)"
                ),
            ),
            "ScalingLimited": (
                "False",
                "DesiredWithinRange",
                "the desired count is within the acceptable range",
            ),
        }
        message = (
            "New size: 4; reason: cpu resource utilization (percentage of request) above target"
        )
        assert ("SuccessfulRescale", message) in await world.events()
        assert world.metrics.asked[0] == ("admin", f"{PODS}?labelSelector=app%3Dweb")


async def test_less_load_removes_pods_after_five_minutes() -> None:
    async with worlds(replicas=4) as world:
        world.use(p0_cpu="10m", p1_cpu="10m", p2_cpu="10m", p3_cpu="10m")
        await world.autoscaler(cpu(50))
        assert await world.replicas() == 4
        assert (await world.conditions())["AbleToScale"][1] == "ScaleDownStabilized"
        for _ in range(19):
            await world.tick()
        assert await world.replicas() == 4
        await world.tick()
        await world.tick()
        assert await world.replicas() == 1
        message = "New size: 1; reason: All metrics below target"
        assert ("SuccessfulRescale", message) in await world.events()


@pytest.mark.parametrize(
    ("spec", "replicas", "reason"),
    [
        (
            {"maxReplicas": 3},
            3,
            "Current number of replicas above Spec.MaxReplicas",
        ),
        (
            {"minReplicas": 7},
            7,
            "Current number of replicas below Spec.MinReplicas",
        ),
    ],
)
async def test_bounds_hold_without_metrics(
    spec: dict[str, Any], replicas: int, reason: str
) -> None:
    async with worlds(replicas=5) as world:
        await world.autoscaler(cpu(50), **spec)
        assert await world.replicas() == replicas
        assert (
            "SuccessfulRescale",
            f"New size: {replicas}; reason: {reason}",
        ) in await world.events()


async def test_a_target_of_zero_replicas_is_left_alone() -> None:
    async with worlds() as world:
        await world.client.patch(Deployment, "web", {"spec": {"replicas": 0}}, "default")
        world.use(p0_cpu="90m", p1_cpu="90m")
        await world.autoscaler(cpu(50))
        assert await world.replicas() == 0
        assert (await world.conditions())["ScalingActive"] == (
            "False",
            "ScalingDisabled",
            "scaling is disabled since the replica count of the target is zero",
        )


async def test_without_metrics_nothing_is_done_and_everything_is_told() -> None:
    async with worlds() as world:
        await world.autoscaler(cpu(50))
        assert await world.replicas() == 2
        cause = (
            "failed to get cpu utilization: unable to get metrics for resource cpu: "
            "unable to fetch metrics from resource metrics API: "
            "the server could not find the requested resource (get pods.metrics.k8s.io)"
        )
        assert (await world.conditions())["ScalingActive"] == (
            "False",
            "FailedGetResourceMetric",
            f"the HPA was unable to compute the replica count: {cause}",
        )
        summary = (
            "invalid metrics (1 invalid out of 1), first error is: "
            f"failed to get cpu resource metric value: {cause}"
        )
        assert await world.events() == {
            ("FailedGetResourceMetric", cause),
            ("FailedComputeMetricsReplicas", summary),
        }
        status = (await world.found()).status
        assert (status.currentReplicas, status.desiredReplicas) == (2, 0)
        assert [one.type for one in status.currentMetrics] == [""]


async def test_a_failed_metric_stops_a_removal_but_not_an_addition() -> None:
    memory = {
        "type": "Resource",
        "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "50Mi"}},
    }
    async with worlds(replicas=3) as world:
        world.use(p0_cpu="1m", p1_cpu="1m", p2_cpu="1m")
        await world.autoscaler(cpu(50), memory)
        for _ in range(25):
            await world.tick()
        assert await world.replicas() == 3
        assert (await world.conditions())["ScalingActive"][1] == "FailedGetResourceMetric"
        world.use(p0_cpu="99m", p1_cpu="99m", p2_cpu="99m")
        await world.tick()
        assert await world.replicas() == 6
        assert (await world.conditions())["ScalingActive"][1] == "ValidMetricFound"


async def test_the_largest_of_several_metrics_counts() -> None:
    memory = {
        "type": "Resource",
        "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "50Mi"}},
    }
    async with worlds() as world:
        world.use(p0_cpu="60m", p1_cpu="60m", p0_memory="90Mi", p1_memory="110Mi")
        await world.autoscaler(cpu(50), memory)
        assert await world.replicas() == 4
        _, of_memory = (await world.found()).status.currentMetrics
        assert of_memory.resource is not None
        assert of_memory.resource.current.averageValue == "100Mi"
        assert (
            "SuccessfulRescale",
            "New size: 4; reason: memory resource above target",
        ) in await world.events()


async def test_one_container_counts_alone() -> None:
    source = {
        "name": "cpu",
        "container": "c",
        "target": {"type": "Utilization", "averageUtilization": 50},
    }
    async with worlds() as world:
        world.use(p0_cpu="99m", p1_cpu="99m")
        for item in world.metrics.pages[PODS]["items"]:
            item["containers"].insert(0, {"name": "noise", "usage": {"cpu": "9"}})
        await world.autoscaler({"type": "ContainerResource", "containerResource": source})
        assert await world.replicas() == 4
        (metric,) = (await world.found()).status.currentMetrics
        assert metric.containerResource is not None
        assert metric.containerResource.current.averageUtilization == 99


async def register_custom(world: World, version: str = "v1beta2") -> None:
    spec = {
        "group": "custom.metrics.k8s.io",
        "version": version,
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "insecureSkipTLSVerify": True,
        "service": {"namespace": "default", "name": "adapter"},
    }
    await world.server.create(
        "apiregistration.k8s.io/v1/apiservices",
        {"metadata": {"name": f"{version}.custom.metrics.k8s.io"}, "spec": spec},
    )


async def test_custom_metrics_of_pods_and_objects() -> None:
    of_pods = {
        "type": "Pods",
        "pods": {
            "metric": {"name": "qps", "selector": {"matchLabels": {"verb": "GET"}}},
            "target": {"type": "AverageValue", "averageValue": "10"},
        },
    }
    of_object = {
        "type": "Object",
        "object": {
            "describedObject": {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "Ingress",
                "name": "main",
            },
            "metric": {"name": "hits"},
            "target": {"type": "Value", "value": "100"},
        },
    }
    async with worlds() as world:
        await register_custom(world)
        base = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default"
        world.metrics.pages[f"{base}/pods/*/qps"] = {
            "items": [
                {"describedObject": {"name": "p0"}, "value": "15", "timestamp": None},
                {"describedObject": {"name": "p1"}, "value": "13500m", "timestamp": None},
            ]
        }
        world.metrics.pages[f"{base}/ingresses.networking.k8s.io/main/hits"] = {
            "items": [{"describedObject": {"name": "main"}, "value": "110"}]
        }
        await world.autoscaler(of_pods, of_object)
        assert await world.replicas() == 3
        qps, hits = (await world.found()).status.currentMetrics
        assert qps.pods is not None
        assert hits.object is not None
        assert (qps.pods.current.averageValue, hits.object.current.value) == ("14250m", "110")
        asked = [path for _, path in world.metrics.asked]
        assert (
            f"{base}/pods/%2A/qps?labelSelector=app%3Dweb&metricLabelSelector=verb%3DGET" in asked
        )


async def test_custom_metrics_without_an_api() -> None:
    source = {"metric": {"name": "qps"}, "target": {"type": "AverageValue", "averageValue": "10"}}
    async with worlds() as world:
        await world.autoscaler({"type": "Pods", "pods": source})
        assert (await world.conditions())["ScalingActive"] == (
            "False",
            "FailedGetPodsMetric",
            (
                "the HPA was unable to compute the replica count: unable to get metric qps: unable "
                "to fetch metrics from custom metrics API: no known available metric versions found"
            ),
        )


@pytest.mark.parametrize(
    ("target", "replicas", "shown"),
    [
        ({"type": "Value", "value": "100"}, 3, {"value": "150"}),
        ({"type": "AverageValue", "averageValue": "30"}, 5, {"averageValue": "75"}),
    ],
)
async def test_external_metrics(
    target: dict[str, str], replicas: int, shown: dict[str, str]
) -> None:
    source = {
        "metric": {"name": "queue", "selector": {"matchLabels": {"q": "a"}}},
        "target": target,
    }
    async with worlds() as world:
        page = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/queue"
        world.metrics.pages[page] = {"items": [{"value": "100"}, {"value": "50"}]}
        await world.autoscaler({"type": "External", "external": source})
        # Without behavior at most four pods, or twice as many.
        assert await world.replicas() == min(replicas, 4)
        (metric,) = (await world.found()).status.currentMetrics
        assert metric.external is not None
        current = metric.external.current
        found = {"value": current.value, "averageValue": current.averageValue}
        assert {name: text for name, text in found.items() if text} == shown


async def test_a_missing_target_is_told() -> None:
    async with worlds(replicas=0) as world:
        await world.autoscaler(cpu(50))
        cause = 'deployments.apps "web" not found'
        assert (await world.conditions())["AbleToScale"] == (
            "False",
            "FailedGetScale",
            f"the HPA controller was unable to get the target's current scale: {cause}",
        )
        assert ("FailedGetScale", cause) in await world.events()
        wrong = {"apiVersion": "nowhere.io/v1", "kind": "Thing", "name": "x"}
        await world.autoscaler(cpu(50), name="other", scaleTargetRef=wrong)
        message = 'no matches for kind "Thing" in group "nowhere.io"'
        assert ("FailedGetScale", message) in await world.events()
        await world.deployment()  # at once, not at the next turn
        world.server.clock.advance(15)
        await world.client.patch(Deployment, "web", {"spec": {"replicas": 3}}, "default")
        await world.harness.settle()
        assert (await world.conditions())["AbleToScale"][0] == "True"


async def test_two_autoscalers_of_the_same_pods_do_nothing() -> None:
    async with worlds() as world:
        world.use(p0_cpu="99m", p1_cpu="99m")
        await world.autoscaler(cpu(100), name="a")
        await world.autoscaler(cpu(50), name="b")
        await world.tick()
        assert await world.replicas() == 2
        message = "pods by selector app=web are controlled by multiple HPAs: [default/a default/b]"
        for name in ("a", "b"):
            found = (await world.conditions(name))["ScalingActive"]
            assert found == ("False", "AmbiguousSelector", message)
        await world.server.delete("autoscaling/v2/horizontalpodautoscalers", "a")
        await world.harness.settle()
        await world.tick()
        assert await world.replicas() == 4


async def test_a_conflict_is_retried_and_a_refusal_is_told() -> None:
    async with worlds() as world:
        client: Any = world.client
        send, conflicts = client.send, 0

        async def refuse(call: Any) -> bytes:
            nonlocal conflicts
            if call.subresource == "scale" and call.verb == "update" and conflicts:
                conflicts -= 1
                raise Conflict("the object has been modified")
            answer: bytes = await send(call)
            return answer

        client.send = refuse
        conflicts = 4
        world.use(p0_cpu="99m", p1_cpu="99m")
        await world.autoscaler(cpu(50))
        assert await world.replicas() == 4
        conflicts = 5
        world.use(p0_cpu="199m", p1_cpu="199m")
        await world.tick(20)
        assert await world.replicas() == 4
        assert (await world.conditions())["AbleToScale"] == (
            "False",
            "FailedUpdateScale",
            "the HPA controller was unable to update the target scale: the object has been modified",
        )
        assert any(reason == "FailedRescale" for reason, _ in await world.events())


@pytest.mark.parametrize(
    "page",
    [
        {"items": [{"metadata": {"name": "p0"}, "containers": [{"usage": {"cpu": "x"}}]}]},
        {"items": [{"metadata": 5}]},
        {"items": [{"containers": [{"usage": {"cpu": "1e999999"}}]}] * 20_001},
        {"items": {"a": 1}},
        [],
        {},
    ],
)
async def test_whatever_a_server_of_metrics_sends_is_a_failed_metric(page: Any) -> None:
    async with worlds() as world:
        world.metrics.pages[PODS] = page
        await world.autoscaler(cpu(50))
        assert (await world.conditions())["ScalingActive"][1] == "FailedGetResourceMetric"
        assert await world.replicas() == 2


async def test_a_server_of_metrics_that_is_down() -> None:
    async with worlds() as world:

        def down(*_: object) -> Any:
            raise ServiceUnavailable("the server is currently unable to handle the request")

        world.metrics.answer = down
        await world.autoscaler(cpu(50))
        assert "unable to handle the request" in (await world.conditions())["ScalingActive"][2]


async def test_a_custom_resource_with_a_scale_is_a_target() -> None:
    async with worlds() as world:
        serve_gadgets(world.server)
        await world.server.create(
            "example.com/v1/gadgets",
            {
                "metadata": {"name": "g", "namespace": "default"},
                "spec": {"size": 2},
                "status": {"size": 2, "selector": "app=web"},
            },
        )
        world.use(p0_cpu="99m", p1_cpu="99m")
        target = {"apiVersion": "example.com/v1beta1", "kind": "Gadget", "name": "g"}
        await world.autoscaler(cpu(50), scaleTargetRef=target)
        assert world.server.get("example.com/v1/gadgets", "g")["spec"]["size"] == 4


async def test_a_burst_of_changes_is_evaluated_once_a_second() -> None:
    async with worlds() as world:
        world.use(p0_cpu="50m", p1_cpu="50m")
        await world.autoscaler(cpu(50))
        before = len(world.metrics.asked)
        spec = (await world.client.get(Deployment, "web", "default")).spec.template.spec
        for number in range(10):
            await world.pod(f"x{number}", msgspec.to_builtins(spec))
            await world.harness.settle()
        assert len(world.metrics.asked) == before
        world.server.clock.advance(1)
        await world.pod("last", msgspec.to_builtins(spec))
        await world.harness.settle()
        assert len(world.metrics.asked) == before + 1


async def test_nothing_is_kept_of_a_deleted_autoscaler() -> None:
    async with worlds() as world:
        world.use(p0_cpu="50m", p1_cpu="50m")
        await world.autoscaler(cpu(50))
        await world.server.delete("autoscaling/v2/horizontalpodautoscalers", "hpa")
        await world.harness.settle()
        controller = world.harness.runtime._running[0].controller
        assert isinstance(controller, HorizontalAutoscalerController)
        kept = controller._evaluated
        assert kept is not None
        assert (kept._memory, kept._evaluated, kept.selecting._terms) == ({}, {}, {})
        assert list(kept.selecting.keys("default", {"app": "web"})) == []


async def test_without_autoscalers_nothing_is_evaluated() -> None:
    async with worlds() as world:
        controller = world.harness.runtime._running[0].controller
        assert isinstance(controller, HorizontalAutoscalerController)
        assert controller._evaluated is None
        assert world.harness.runtime._running[0].context.queue.delayed == 0


def test_what_evaluates_is_not_imported_with_the_controllers() -> None:
    check = (
        "import sys, kubelite.control; "
        "print([name for name in sys.modules if name.startswith('kubelite.control.autoscaling')])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
