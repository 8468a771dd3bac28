"""Users may take away or garble what the API lets them: controllers, scheduler and nodes must not trip over it."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import msgspec
import pytest

from kubelite.api.errors import APIError
from kubelite.api.kinds.apps import (
    ControllerRevision,
    DaemonSet,
    Deployment,
    ReplicaSet,
    StatefulSet,
)
from kubelite.api.kinds.autoscaling_v2 import HorizontalPodAutoscaler
from kubelite.api.kinds.batch import CronJob, Job
from kubelite.api.kinds.certificates import CertificateSigningRequest
from kubelite.api.kinds.coordination import Lease
from kubelite.api.kinds.core.config import Secret
from kubelite.api.kinds.core.endpoints import Endpoints
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.persistent_volumes import PersistentVolume, PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.quota import ResourceQuota
from kubelite.api.kinds.core.replication_controllers import ReplicationController
from kubelite.api.kinds.core.service_accounts import ServiceAccount
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.kinds.model import Kind, to_wire
from kubelite.api.kinds.policy import PodDisruptionBudget
from kubelite.api.kinds.rbac import ClusterRole
from simulation.cluster import SimulatedCluster
from simulation.simulated_loop import run_simulated
from simulation.stories import pod_template, workload

ROUNDS = 150
LABELS = {"app": "web"}
# What objects of these kinds have that a client may write, in the main resource or in their status.
KINDS: tuple[type[Kind], ...] = (
    ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet, ReplicationController, HorizontalPodAutoscaler,
    CronJob, Job, CertificateSigningRequest, Lease, Secret, Endpoints, Node, PersistentVolume, PersistentVolumeClaim,
    Pod, ServiceAccount, Service, EndpointSlice, PodDisruptionBudget, ClusterRole, ResourceQuota, Namespace,
)  # fmt: skip
TEXTS = (
    "",
    "x",
    "-1",
    "999999999999999999999",
    "\u0661",
    "2026-01-01T00:00:00Z",
    "null",
    "[]",
    "{",
    "a" * 63,
)
NUMBERS = (0, -1, 1, 2**31 - 1)


class Garbler:
    """Changes one thing of one object at a time, as a user could."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self._cluster = cluster
        self._random = cluster.random
        self.accepted = 0

    async def step(self) -> str:
        """Try to change something; return what it was."""
        kind = self._random.choice(KINDS)
        items = self._cluster.all(kind)
        if not items:
            return ""
        fields = to_wire(self._random.choice(items))
        name = f"{kind.__name__} {fields['metadata']['name']}"
        part = self._random.choice(("metadata", "metadata", "status", "status", "spec", ""))
        if kind is ResourceQuota and part in ("spec", ""):
            # The quota bounds the story: without it, replicas of 2**31-1 are pods until the test is ended.
            part = "status"
        what = self._garble(fields, part)
        try:
            item = msgspec.convert(fields, kind)
            written = await self._cluster.client.update(item, "status" if part == "status" else "")
        except (APIError, msgspec.ValidationError):
            return ""
        if to_wire(written)["metadata"]["resourceVersion"] == fields["metadata"]["resourceVersion"]:
            return ""
        self.accepted += 1
        return f"{name}: {what}"

    def _garble(self, fields: dict[str, Any], part: str) -> str:
        places = list(_places(fields.get(part, {}) if part else fields, (part,) if part else ()))
        places = [place for place in places if not KEPT.intersection(place)]
        if not places:
            return "nothing"
        path = self._random.choice(places)
        parent: Any = fields
        for step in path[:-1]:
            parent = parent[step]
        return f"{'.'.join(map(str, path))} {self._change(parent, path[-1])}"

    def _change(self, parent: Any, key: Any) -> str:
        value = parent[key]
        if isinstance(value, bool):
            parent[key] = not value
        elif isinstance(value, int) and self._random.random() < 0.5:
            parent[key] = self._random.choice(NUMBERS)
        elif isinstance(value, str) and self._random.random() < 0.5:
            parent[key] = self._random.choice(TEXTS)
        else:
            del parent[key]
            return "removed"
        return f"= {parent[key]!r}"


# What the API keeps whatever a client sends, and a version that would only make the write a conflict.
KEPT = {
    "namespace",
    "uid",
    "resourceVersion",
    "apiVersion",
    "kind",
    "managedFields",
    "creationTimestamp",
}


def _places(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Yield the path of all that is in a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield *path, key
        if isinstance(inner, dict | list):
            yield from _places(inner, (*path, key))


class Failures(logging.Handler):
    """Keeps the log's lines about exceptions that nothing had foreseen."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


@contextmanager
def failures() -> Iterator[list[str]]:
    handler = Failures()
    logger = logging.getLogger("kubelite")
    logger.addHandler(handler)
    try:
        yield handler.texts
    finally:
        logger.removeHandler(handler)


async def _populate(cluster: SimulatedCluster) -> None:
    """Make something of each kind that controllers work on."""
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    job = {
        "completions": 4,
        "parallelism": 2,
        "template": pod_template("job", restartPolicy="Never"),
    }
    scale = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    web = {"selector": {"matchLabels": LABELS}}
    bodies: tuple[tuple[type[Kind], dict[str, Any]], ...] = (
        (Deployment, workload("web", replicas=3)),
        (DaemonSet, workload("agent")),
        (StatefulSet, workload("db", replicas=2, serviceName="db", volumeClaimTemplates=[
            {"metadata": {"name": "data"}, "spec": claim}])),
        (ReplicationController, {"metadata": {"name": "rc"}, "spec": {
            "replicas": 1, "selector": {"app": "rc"}, "template": pod_template("rc")}}),
        (Job, {"metadata": {"name": "one"}, "spec": {**job, "completionMode": "Indexed"}}),
        (Job, {"metadata": {"name": "two"}, "spec": {**job, "ttlSecondsAfterFinished": 60}}),
        (CronJob, {"metadata": {"name": "cron"}, "spec": {
            "schedule": "* * * * *", "jobTemplate": {"spec": job}}}),
        (Service, {"metadata": {"name": "web"}, "spec": {"selector": LABELS, "ports": [{"port": 80}]}}),
        (Service, {"metadata": {"name": "own"}, "spec": {"ports": [{"port": 80}]}}),
        (Endpoints, {"metadata": {"name": "own"}, "subsets": [
            {"addresses": [{"ip": "10.9.9.9"}], "ports": [{"port": 80}]}]}),
        (PodDisruptionBudget, {"metadata": {"name": "web"}, "spec": {**web, "minAvailable": "50%"}}),
        (ResourceQuota, {"metadata": {"name": "few"}, "spec": {"hard": {"pods": "100", "cpu": "100"}}}),
        (HorizontalPodAutoscaler, {"metadata": {"name": "web"}, "spec": {
            "scaleTargetRef": scale, "maxReplicas": 5}}),
        (Secret, {"metadata": {"name": "token", "annotations": {
            "kubernetes.io/service-account.name": "default"}}, "type": "kubernetes.io/service-account-token"}),
    )  # fmt: skip
    for kind, body in bodies:
        await cluster.create(kind, body)
    disk = {"metadata": {"name": "disk"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}}}  # fmt: skip
    await cluster.client.create(msgspec.convert(disk, PersistentVolume))
    role = {
        "metadata": {"name": "all"},
        "aggregationRule": {"clusterRoleSelectors": [web["selector"]]},
    }
    await cluster.client.create(msgspec.convert(role, ClusterRole))


async def garbling_story(seed: int) -> None:
    async with SimulatedCluster(seed, nodes=2) as cluster:
        with failures() as seen:
            await _populate(cluster)
            await asyncio.sleep(30)
            garbler = Garbler(cluster)
            done: list[str] = []
            for _ in range(ROUNDS):
                if what := await garbler.step():
                    done.append(what)
                    await asyncio.sleep(cluster.random.choice((0, 1, 20)))
                assert not seen, "\n".join([*done[-5:], seen[0]])
            assert garbler.accepted > ROUNDS / 10


@pytest.mark.parametrize("seed", range(4))
def test_nothing_trips_over_what_users_garble(seed: int) -> None:
    run_simulated(seed, partial(garbling_story, seed))
