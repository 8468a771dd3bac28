"""A whole cluster in the loop of a test."""

import asyncio
import base64
import json
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

import kubelite.testing
from kubelite.api.errors import Forbidden, Invalid, NotFound
from kubelite.api.kinds.apps import Deployment
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.testing import Client, Cluster, Match, NotReached, Rule

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: nginx}]}
"""
NIGHTLY = """
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 3 * * *"
  successfulJobsHistoryLimit: 100
  jobTemplate:
    spec:
      template:
        spec: {restartPolicy: Never, containers: [{name: work, image: work}]}
"""
WIDGETS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, kind: Widget, singular: widget, shortNames: [wd]}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties: {spec: {type: object, properties: {size: {type: integer, minimum: 1}}}}
---
apiVersion: example.com/v1
kind: Widget
metadata: {name: one}
spec: {size: 3}
"""


def config_map(name: str, namespace: str = "default") -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace=namespace))


async def test_a_deployment_runs_on_nodes_that_were_added() -> None:
    async with Cluster() as cluster:
        names = await cluster.nodes.add(2, cpu=8, memory="16Gi", labels={"disk": "ssd"})
        assert await cluster.nodes.add() == ["node-2"]
        await cluster.apply(WEB)
        web = await cluster.wait_for(Deployment, "web", condition="Available")
        assert web.status.readyReplicas == 3
        node = await cluster.client().get(Node, names[0])
        assert (node.status.capacity["cpu"], node.metadata.labels["disk"]) == ("8", "ssd")
        pods = await cluster.client().list(Pod, "default", label_selector="app=web")
        assert {pod.status.phase for pod in pods} == {"Running"}


async def test_settled_returns_when_nothing_is_left_to_do_now() -> None:
    async with Cluster() as cluster:
        await cluster.nodes.add(3)
        await cluster.apply(WEB)
        await cluster.settled()
        web = await cluster.client().get(Deployment, "web", "default")
        assert web.status.readyReplicas == 3


async def test_a_day_passes_for_all_that_waits() -> None:
    async with Cluster() as cluster:
        await cluster.nodes.add(1)
        await cluster.apply(NIGHTLY)
        before = cluster.clock.now()
        await cluster.clock.advance(days=2)
        assert (cluster.clock.now() - before).total_seconds() >= 2 * 86_400
        jobs = await cluster.client().resource("batch", "v1", "jobs").list("default")
        assert [job["status"].get("succeeded") for job in jobs] == [1, 1]
        with pytest.raises(ValueError, match="time does not go back"):
            await cluster.clock.advance(hours=-1)


async def test_a_lost_node_becomes_unknown_and_comes_back() -> None:
    async with Cluster() as cluster:
        (name,) = await cluster.nodes.add(1)
        await cluster.nodes.lose(name)
        await cluster.clock.advance(minutes=2)
        await cluster.wait_for(Node, name, condition="Ready=Unknown")
        await cluster.nodes.heal(name)
        await cluster.wait_for("nodes", name, condition="Ready")
        with pytest.raises(LookupError, match="no simulated node other"):
            await cluster.nodes.lose("other")


async def test_pods_do_what_rules_say() -> None:
    rule = Rule(match=Match(name="bad"), run_seconds=30.0, exit_code=3)
    async with Cluster(pods=[rule]) as cluster:
        await cluster.nodes.add(1)
        spec = {"restartPolicy": "Never", "containers": [{"name": "one", "image": "one"}]}
        for name in ("bad", "good"):
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
            await cluster.apply(pod)
        await cluster.clock.advance(minutes=1)
        phases = {pod.metadata.name: pod.status.phase for pod in await cluster.client().list(Pod)}
        assert phases == {"bad": "Failed", "good": "Running"}


async def test_identities_have_their_rights_and_no_more() -> None:
    async with Cluster() as cluster:
        jane = cluster.client("jane", groups=["developers"])
        with pytest.raises(Forbidden, match='User "jane" cannot list resource "configmaps"'):
            await jane.list(ConfigMap, "default")
        await cluster.apply(
            """
            {apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: developers},
             roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit},
             subjects: [{kind: Group, apiGroup: rbac.authorization.k8s.io, name: developers},
                        {kind: Group, apiGroup: rbac.authorization.k8s.io, name: "system:serviceaccounts:apps"}]}
            """
        )
        await jane.create(config_map("hers"))
        account = cluster.client("system:serviceaccount:apps:robot")
        assert "hers" in [one.metadata.name for one in await account.list(ConfigMap, "default")]
        with pytest.raises(Forbidden):
            await account.list(ConfigMap, "kube-system")


async def test_writes_are_admitted_and_validated() -> None:
    async with Cluster() as cluster:
        await cluster.apply(
            "{apiVersion: v1, kind: ResourceQuota, metadata: {name: few}, spec: {hard: {count/secrets: 0}}}"
        )
        await cluster.settled()
        with pytest.raises(Forbidden, match="exceeded quota: few"):
            await cluster.apply("{apiVersion: v1, kind: Secret, metadata: {name: one}}")
        with pytest.raises(Invalid, match=r"spec.replicas: Invalid value"):
            await cluster.apply(WEB.replace("replicas: 3", "replicas: -1"))


async def test_definitions_and_their_objects_are_applied_in_one_go() -> None:
    async with Cluster() as cluster:
        _, one = await cluster.apply(WIDGETS)
        assert one["metadata"]["namespace"] == "default"
        found = await cluster.wait_for("wd", "one", predicate=lambda item: item["spec"]["size"])
        assert found["metadata"]["uid"] == one["metadata"]["uid"]
        with pytest.raises(LookupError, match="no kind Gadget"):
            await cluster.apply("{apiVersion: example.com/v1, kind: Gadget, metadata: {name: one}}")
        with pytest.raises(LookupError, match="no resource type 'gadgets'"):
            await cluster.wait_for("gadgets", "one")
        with pytest.raises(ValueError, match="must have apiVersion and kind"):
            await cluster.apply("{a: 1}")
        with pytest.raises(ValueError, match="it is not YAML"):
            await cluster.apply("{")


async def test_lists_files_and_typed_objects_are_applied(tmp_path: Path) -> None:
    async with Cluster() as cluster:
        file = tmp_path / "list.yaml"
        file.write_text(
            "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Namespace, metadata: {name: a}}]}"
        )
        await cluster.apply(file)
        await cluster.apply([config_map("b", "a"), config_map("c")])
        (made,) = await cluster.apply(
            "{apiVersion: v1, kind: ConfigMap, metadata: {generateName: d-}}"
        )
        assert made["metadata"]["name"].startswith("d-")
        assert (await cluster.client().get(ConfigMap, "b", "a")).metadata.namespace == "a"


async def test_a_wait_that_fails_shows_the_object_its_conditions_and_events() -> None:
    async with Cluster() as cluster:
        await cluster.apply(WEB)
        with pytest.raises(NotReached) as failed:
            await cluster.wait_for("deploy", "web", condition="Available", timeout_seconds=0.2)
        text = str(failed.value)
        assert text.startswith(
            "deployments.apps web in default: Available was not reached in 0.2 s"
        )
        assert "\n  Available=False MinimumReplicasUnavailable: " in text
        assert "\n  Normal Deployment/web ScalingReplicaSet: Scaled up" in text
        assert "FailedScheduling" in text
        assert "\n    replicas: 3" in text
        assert "managedFields" not in text
        with pytest.raises(NotReached, match="it does not exist"):
            await cluster.wait_for(Pod, "none", timeout_seconds=0.01)


async def test_it_is_waited_until_an_object_is_deleted() -> None:
    async with Cluster() as cluster:
        client = cluster.client()
        await client.create(config_map("gone"))
        waiting = asyncio.create_task(
            cluster.wait_for(ConfigMap, "gone", condition="Deleted", timeout_seconds=30)
        )
        await cluster.settled()
        assert not waiting.done()
        await client.delete(ConfigMap, "gone", "default")
        assert await waiting is None


async def test_a_client_is_one_of_the_protocol_and_its_mirrors_follow() -> None:
    async with Cluster() as cluster:
        client: Client = cluster.client()
        mirror = client.mirror(ConfigMap, "default")
        await mirror.synced()
        seen: list[str] = []
        end = mirror.subscribe(lambda _, after: seen.append(after.metadata.name if after else ""))
        seen.clear()
        await client.create(config_map("one"))
        assert mirror.get("one", "default")
        assert seen == ["one"]
        end()
        mirror.close()
        with pytest.raises(NotFound):
            await client.get(ConfigMap, "two", "default")


async def test_two_clusters_do_not_see_each_other() -> None:
    async with Cluster() as one, Cluster() as other:
        await one.apply(WIDGETS)
        await one.nodes.add(1)
        await one.clock.advance(days=1)
        assert (one.clock.now() - other.clock.now()).total_seconds() > 80_000
        assert await other.client().list(Node) == []
        with pytest.raises(LookupError):
            await other.wait_for("widgets", "one")
        assert one.url != other.url
        status, _ = await ask(other.url, one.kubeconfig(), other.kubeconfig())
        assert status == 401


async def test_an_operator_of_the_test_runs_in_the_time_of_the_cluster() -> None:
    async with Cluster() as cluster:

        async def expire() -> None:
            await asyncio.sleep(3600)
            await cluster.client().delete(ConfigMap, "old", "default")

        await cluster.client().create(config_map("old"))
        operator = asyncio.create_task(cluster.run(expire()))
        other = asyncio.create_task(cluster.clock.sleep(1800))
        await cluster.settled()
        await cluster.clock.advance(hours=2)
        await operator
        await other
        await cluster.wait_for(ConfigMap, "old", condition="Deleted")


async def test_a_store_on_disk_is_there_again(tmp_path: Path) -> None:
    async with Cluster(data_dir=tmp_path) as cluster:
        await cluster.client().create(config_map("kept"))
        await cluster.nodes.add(1)
        before = cluster.kubeconfig()
    async with Cluster(data_dir=tmp_path) as cluster:
        kept = await cluster.client().get(ConfigMap, "kept", "default")
        assert kept.metadata.name == "kept"
        assert await cluster.client().list(Node) == []
        authority = "certificate-authority-data"
        assert (
            yaml.safe_load(before)["clusters"][0]["cluster"][authority]
            == yaml.safe_load(cluster.kubeconfig())["clusters"][0]["cluster"][authority]
        )


async def test_a_seed_repeats_names() -> None:
    names = []
    for _ in range(2):
        async with Cluster(seed=7) as cluster:
            await cluster.apply(WEB)
            await cluster.settled()
            names.append([pod.metadata.name for pod in await cluster.client().list(Pod)])
    assert names[0] == names[1]


async def ask(
    url: str, identity: str, trusted: str, path: str = "/api/v1/nodes"
) -> tuple[int, object]:
    """Ask the port as the user of one kubeconfig, with the authority of another."""
    user = yaml.safe_load(identity)["users"][0]["user"]
    authority = yaml.safe_load(trusted)["clusters"][0]["cluster"]["certificate-authority-data"]
    context = ssl.create_default_context(cadata=base64.b64decode(authority).decode())

    def get() -> tuple[int, object]:
        with tempfile.NamedTemporaryFile() as file:
            for part in ("client-certificate-data", "client-key-data"):
                file.write(base64.b64decode(user[part]) + b"\n")
            file.flush()
            context.load_cert_chain(file.name)
        try:
            with urllib.request.urlopen(url + path, context=context) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    return await asyncio.to_thread(get)


async def test_the_port_serves_every_client() -> None:
    async with Cluster() as cluster:
        config = cluster.kubeconfig()
        assert yaml.safe_load(config)["clusters"][0]["cluster"]["server"] == cluster.url
        await cluster.clock.advance(days=400)  # clients have the machine's time
        await cluster.nodes.add(1)
        status, body = await ask(cluster.url, config, config)
        assert status == 200
        assert isinstance(body, dict)
        assert [item["metadata"]["name"] for item in body["items"]] == ["node-0"]


async def test_a_cluster_that_does_not_run_says_so() -> None:
    cluster = Cluster()
    with pytest.raises(RuntimeError, match="the cluster does not run"):
        cluster.client()
    async with cluster:
        pass
    with pytest.raises(RuntimeError, match="the cluster has ended"):
        await cluster.settled()


def test_nothing_of_a_real_node_is_imported() -> None:
    program = """
import asyncio, sys
from kubelite.testing import Cluster
async def main():
    async with Cluster() as cluster:
        await cluster.nodes.add(1)
        cluster.kubeconfig()
        await cluster.settled()
asyncio.run(main())
pure = {"kubelite.net", "kubelite.net.kube_dns"}  # what the Service of the DNS looks like
of_others = {m for m in sys.modules if m.split(".")[0] in ("pyroute2", "aiodocker", "pytest")}
of_net = {m for m in sys.modules if (m + ".").startswith("kubelite.net.")}
print(*sorted(of_others | of_net - pure))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_the_public_names_stay() -> None:
    names = {
        "BlockingCluster",
        "Client",
        "Cluster",
        "ClusterClock",
        "Match",
        "Mirror",
        "Nodes",
        "NotReached",
        "Object",
        "ResourceClient",
        "Rule",
    }
    assert names <= set(kubelite.testing.__all__), "a name that tests of others use is gone"
    assert all(hasattr(kubelite.testing, name) for name in kubelite.testing.__all__)
    calls = {
        Cluster: "start client apply wait_for settled run url kubeconfig nodes",
        kubelite.testing.ClusterClock: "now advance sleep hold go_on",
        kubelite.testing.Nodes: "add lose heal",
        kubelite.testing.BlockingCluster: "stop client apply wait_for settled run url kubeconfig",
    }
    for owner, given in calls.items():
        assert [name for name in given.split() if not hasattr(owner, name)] == []
