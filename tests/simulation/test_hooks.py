"""A whole cluster whose webhooks are down, and webhooks that turn against the cluster."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from kubelite.api.errors import APIError, InternalError
from kubelite.api.kinds.admissionregistration import ValidatingWebhookConfiguration
from kubelite.api.kinds.apiextensions import CustomResourceDefinition
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.registry.hooks import ReviewFailed
from kubelite.control import conditions
from simulation.cluster import SimulatedCluster
from simulation.simulated_loop import run_simulated

JSON = dict[str, Any]
CATS = ("example.com", "v1", "cats")


class SwitchedHooks:
    """Converts objects and admits requests, unless it is down; `during` runs before it answers."""

    def __init__(self) -> None:
        self.is_down = False
        self.deletions: list[str] = []  # the namespaces of those that it was asked about
        self.during: Any = None

    def uid(self) -> str:
        return "u"

    async def post(self, client_config: Mapping[str, Any], body: bytes, seconds: float) -> bytes:
        del client_config, seconds
        review = msgspec.json.decode(body)
        request = review["request"]
        if request.get("operation") == "DELETE":
            self.deletions.append(request.get("namespace", ""))
        if self.is_down:
            raise ReviewFailed("connection refused")
        if self.during is not None:
            await self.during()
        response: JSON = {"uid": request["uid"]}
        if review["kind"] == "ConversionReview":
            wanted = request["desiredAPIVersion"]
            response["convertedObjects"] = [
                {**item, "apiVersion": wanted} for item in request["objects"]
            ]
            response["result"] = {"status": "Success"}
        else:
            response["allowed"] = True
        kinds = {"apiVersion": review["apiVersion"], "kind": review["kind"]}
        return msgspec.json.encode({**kinds, "response": response})


def definition() -> JSON:
    """Return a definition whose preferred version is not the stored one."""
    versions = [
        {
            "name": name,
            "served": True,
            "storage": name == "v1",
            "schema": {"openAPIV3Schema": {"type": "object"}},
        }
        for name in ("v1", "v2")
    ]
    client = {"url": "https://hook.example.com/convert"}
    webhook = {"clientConfig": client, "conversionReviewVersions": ["v1"]}
    return {
        "metadata": {"name": "cats.example.com", "namespace": ""},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "cats", "kind": "Cat"},
            "versions": versions,
            "conversion": {"strategy": "Webhook", "webhook": webhook},
        },
    }


def configuration() -> JSON:
    """Return the configuration of a webhook that is asked about every object, and runs in a namespace itself."""
    rule = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}
    webhook = {
        "name": "guard.example.com",
        "clientConfig": {"service": {"namespace": "guard", "name": "hook"}},
        "rules": [{**rule, "scope": "*"}],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    return {"metadata": {"name": "guard", "namespace": ""}, "webhooks": [webhook]}


async def add_cat(cluster: SimulatedCluster, namespace: str) -> None:
    await cluster.create(Namespace, {"metadata": {"name": namespace, "namespace": ""}})
    made = {"metadata": {"name": "tom", "namespace": namespace}}
    await cluster.client.resource(*CATS).create(made)


def names(cluster: SimulatedCluster) -> set[str]:
    return {one.metadata.name for one in cluster.all(Namespace)}


async def conversion_is_down() -> None:
    hooks = SwitchedHooks()
    async with SimulatedCluster(11, nodes=0, hooks=hooks) as cluster:
        await cluster.create(CustomResourceDefinition, definition())
        await cluster.until(lambda: ("example.com", "v2", "cats") in served(cluster))
        for namespace in ("work", "held"):
            await add_cat(cluster, namespace)
        holder = {"metadata": {"finalizers": ["example.com/hold"]}}
        await cluster.client.resource(*CATS).patch("tom", holder, "held")
        await cluster.create(Namespace, {"metadata": {"name": "empty", "namespace": ""}})
        hooks.is_down = True
        for namespace in ("work", "held", "empty"):
            await cluster.client.delete(Namespace, namespace)
        await cluster.until(lambda: names(cluster) & {"work", "held", "empty"} == {"held"})
        left = "cats.example.com has 1 resource instances"
        await cluster.until(lambda: left in why(cluster, "held"))
        await cluster.restart()
        assert "held" in names(cluster)
        free = {"metadata": {"finalizers": None}}
        await cluster.client.resource(*CATS).patch("tom", free, "held")  # the stored version
        await cluster.until(lambda: "held" not in names(cluster))


def why(
    cluster: SimulatedCluster, namespace: str, condition: str = "NamespaceContentRemaining"
) -> str:
    """Return what a condition of a namespace says."""
    (found,) = (one for one in cluster.all(Namespace) if one.metadata.name == namespace)
    remaining = conditions.find(found.status.conditions, condition)
    return "" if remaining is None else remaining.message


async def a_namespace_of_its_own_webhook() -> None:
    """The webhook of a deployment in a namespace is asked about all in it, and deletes the namespace."""
    hooks = SwitchedHooks()
    async with SimulatedCluster(12, nodes=0, hooks=hooks) as cluster:
        await cluster.create(Namespace, {"metadata": {"name": "guard", "namespace": ""}})
        await cluster.until(
            lambda: bool(cluster.all(ConfigMap, "guard"))
        )  # else it is gone at once
        await cluster.create(ValidatingWebhookConfiguration, configuration())

        async def delete_own_namespace() -> None:
            hooks.during = None
            await cluster.client.delete(Namespace, "guard")
            hooks.is_down = True  # it goes with its namespace

        hooks.during = delete_own_namespace
        made = {"metadata": {"name": "a", "namespace": "guard"}}
        with contextlib.suppress(APIError):
            await cluster.create(ConfigMap, made)
        failed = "NamespaceDeletionContentFailure"
        down = (
            'failed calling webhook "guard.example.com": failed to call webhook: connection refused'
        )
        await cluster.until(lambda: down in why(cluster, "guard", failed))
        hooks.deletions.clear()
        await asyncio.sleep(60)
        assert 0 < hooks.deletions.count("guard") < 40  # it is asked again, but not over and over
        # Nothing asks a webhook about the configurations of webhooks, so this way out is always open.
        await cluster.client.delete(ValidatingWebhookConfiguration, "guard")
        await cluster.until(lambda: "guard" not in names(cluster))
        assert not cluster.all(ConfigMap, "guard")


async def a_webhook_that_is_back() -> None:
    """The deletion of a namespace whose webhook is down is refused, and succeeds once it is back."""
    hooks = SwitchedHooks()
    async with SimulatedCluster(13, nodes=0, hooks=hooks) as cluster:
        await cluster.create(Namespace, {"metadata": {"name": "guard", "namespace": ""}})
        await cluster.create(ValidatingWebhookConfiguration, configuration())
        hooks.is_down = True
        with pytest.raises(InternalError, match="failed calling webhook"):
            await cluster.client.delete(Namespace, "guard")
        hooks.is_down = False
        await cluster.client.delete(Namespace, "guard")
        await cluster.until(lambda: "guard" not in names(cluster))


def served(cluster: SimulatedCluster) -> set[tuple[str, str, str]]:
    return {(row.group, row.version, row.plural) for row in cluster.plane.resources.all()}


def test_a_namespace_goes_while_the_conversion_of_its_objects_is_down() -> None:
    """Nothing of an object but its metadata is needed to delete it, and that is not converted."""
    run_simulated(11, conversion_is_down)


def test_a_namespace_whose_webhook_deletes_it() -> None:
    run_simulated(12, a_namespace_of_its_own_webhook)


def test_a_namespace_whose_webhook_is_down_stays_until_it_is_back() -> None:
    run_simulated(13, a_webhook_that_is_back)
