"""The Python client and its dynamic client, against a real server."""

from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client as typed_client
from kubernetes import config as typed_config
from kubernetes import dynamic as typed_dynamic
from kubernetes import watch as typed_watch

from clients.conftest import ServerProcess

NAMESPACE = "python-client"
# The package is typed in part only.
client: Any = typed_client
config: Any = typed_config
dynamic: Any = typed_dynamic
watch: Any = typed_watch


@pytest.fixture(scope="module")
def api(server: ServerProcess) -> Iterator[Any]:
    made = config.new_client_from_config(str(server.kubeconfig))
    core = client.CoreV1Api(made)
    core.create_namespace({"metadata": {"name": NAMESPACE}})
    yield made
    core.delete_namespace(NAMESPACE)
    made.close()


@pytest.fixture
def core(api: Any) -> Any:
    return client.CoreV1Api(api)


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data}


def test_typed_objects(core: Any) -> None:
    made = core.create_namespaced_config_map(NAMESPACE, config_map("typed", k="1"))
    assert made.metadata.uid
    read = core.read_namespaced_config_map("typed", NAMESPACE)
    assert read.data == {"k": "1"}
    read.data["k"] = "2"
    changed = core.replace_namespaced_config_map("typed", NAMESPACE, read)
    assert changed.metadata.resource_version != made.metadata.resource_version
    with pytest.raises(client.ApiException) as refused:
        core.replace_namespaced_config_map("typed", NAMESPACE, made)
    assert refused.value.status == 409
    patched = core.patch_namespaced_config_map("typed", NAMESPACE, {"data": {"k": None, "j": "3"}})
    assert patched.data == {"j": "3"}
    core.delete_namespaced_config_map("typed", NAMESPACE)
    with pytest.raises(client.ApiException) as missing:
        core.read_namespaced_config_map("typed", NAMESPACE)
    assert missing.value.status == 404


def test_pages(core: Any) -> None:
    for index in range(5):
        core.create_namespaced_config_map(NAMESPACE, config_map(f"page-{index}"))
    names: list[str] = []
    token = ""
    while True:
        page = core.list_namespaced_config_map(NAMESPACE, limit=2, _continue=token)
        names += [item.metadata.name for item in page.items]
        assert len(page.items) <= 2
        if not (token := page.metadata._continue or ""):
            break
    assert [name for name in names if name.startswith("page-")] == [
        f"page-{index}" for index in range(5)
    ]


def test_a_watch_resumes_where_it_ended(core: Any) -> None:
    listed = core.list_namespaced_config_map(NAMESPACE)
    core.create_namespaced_config_map(NAMESPACE, config_map("watched", k="1"))
    first = watch.Watch()
    version = ""
    for event in first.stream(
        core.list_namespaced_config_map,
        NAMESPACE,
        resource_version=listed.metadata.resource_version,
        timeout_seconds=10,
    ):
        assert (event["type"], event["object"].metadata.name) == ("ADDED", "watched")
        version = event["object"].metadata.resource_version
        first.stop()
    core.patch_namespaced_config_map("watched", NAMESPACE, {"data": {"k": "2"}})
    core.delete_namespaced_config_map("watched", NAMESPACE)
    seen = []
    second = watch.Watch()
    for event in second.stream(
        core.list_namespaced_config_map, NAMESPACE, resource_version=version, timeout_seconds=10
    ):
        seen.append(event["type"])
        if len(seen) == 2:
            second.stop()
    assert seen == ["MODIFIED", "DELETED"]


def test_the_dynamic_client(api: Any) -> None:
    cluster = dynamic.DynamicClient(api)
    deployments = cluster.resources.get(api_version="apps/v1", kind="Deployment")
    made = deployments.create(
        namespace=NAMESPACE,
        body={
            "metadata": {"name": "web"},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"a": "b"}},
                "template": {
                    "metadata": {"labels": {"a": "b"}},
                    "spec": {"containers": [{"name": "c", "image": "i"}]},
                },
            },
        },
    )
    assert made.spec.strategy.type == "RollingUpdate"
    applied = deployments.server_side_apply(
        namespace=NAMESPACE,
        name="web",
        field_manager="me",
        force_conflicts=True,
        body={
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web"},
            "spec": {"replicas": 1},
        },
    )
    assert applied.spec.replicas == 1
    scaled = deployments.scale.get(namespace=NAMESPACE, name="web")
    assert scaled.kind == "Scale"
    for event in deployments.watch(namespace=NAMESPACE, timeout=5):
        assert event["object"].metadata.name == "web"
        break
    deployments.delete(namespace=NAMESPACE, name="web")


def test_a_dynamic_watch_resumes_where_it_ended(api: Any) -> None:
    maps = dynamic.DynamicClient(api).resources.get(api_version="v1", kind="ConfigMap")
    version = maps.get(namespace=NAMESPACE).metadata.resourceVersion
    maps.create(namespace=NAMESPACE, body=config_map("dynamic", k="1"))

    def next_event(version: str) -> tuple[str, str, str]:
        watcher = watch.Watch()
        events = maps.watch(
            namespace=NAMESPACE,
            field_selector="metadata.name=dynamic",
            resource_version=version,
            timeout=10,
            watcher=watcher,
        )
        for event in events:
            watcher.stop()
            found = event["object"]
            return event["type"], found.data.k, found.metadata.resourceVersion
        raise AssertionError("the watch ended before an event came")

    kind, value, version = next_event(version)
    assert (kind, value) == ("ADDED", "1")
    merge = "application/merge-patch+json"
    patched = {"metadata": {"name": "dynamic"}, "data": {"k": "2"}}
    maps.patch(namespace=NAMESPACE, body=patched, content_type=merge)
    maps.delete(namespace=NAMESPACE, name="dynamic")
    kind, value, version = next_event(version)
    assert (kind, value) == ("MODIFIED", "2")
    assert next_event(version)[0] == "DELETED"


def test_a_version_that_is_yet_to_come(core: Any) -> None:
    with pytest.raises(client.ApiException) as refused:
        core.list_namespaced_config_map(NAMESPACE, resource_version="999999999")
    assert refused.value.status == 504
    assert "Too large resource version" in refused.value.body


def test_versions(api: Any) -> None:
    assert client.VersionApi(api).get_code().git_version.startswith("v1.36")
    groups = client.ApisApi(api).get_api_versions().groups
    assert "apps" in {group.name for group in groups}
