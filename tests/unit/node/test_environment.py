"""Environment variables and references."""

import re
from typing import Any, cast

import msgspec
import pytest
from fakes.server import Server
from hypothesis import given
from hypothesis import strategies as st

from kubelite.api.client.protocol import Client
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.references import ResourceFieldSelector
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.limits import EXEC_STRING, EXEC_TEXT
from kubelite.node.environment import (
    ConfigUnavailable,
    Environment,
    Surroundings,
    expand,
    field_value,
    quoted,
    resource_value,
    service_environment,
)

AROUND = Surroundings(("10.42.0.2", "fd00::2"), ("192.0.2.1",), {"cpu": "4", "memory": "1Gi"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("$$(A)", "$(A)"),
        ("$(B)", "$(B)"),
        ("x$(A)y$(A)", "x1y1"),
        ("$", "$"),
        ("$(A", "$(A"),
        ("$$$(A)", "$1"),
    ],
)
def test_expand(text: str, expected: str) -> None:
    assert expand(text, {"A": "1"}) == expected


_BEFORE = re.compile(r"\$(\$|\(([^)]*)\))")


@given(st.text(alphabet="$()AB", max_size=30))
def test_expansion_is_that_of_the_grammar(text: str) -> None:
    known = {"A": "$(B)", "": "empty", "AB": ""}

    def replacement(matched: re.Match[str]) -> str:
        if matched.group(1) == "$":
            return "$"
        return known.get(matched.group(2), matched.group(0))

    assert expand(text, known) == _BEFORE.sub(replacement, text)


class _Counted(str):
    """A text that counts how much of it is searched."""

    __slots__ = ("searched",)

    def find(self, *arguments: Any) -> int:
        start = arguments[1] if len(arguments) > 1 else 0
        found = super().find(*arguments)
        self.searched = getattr(self, "searched", 0) + (found if found >= 0 else len(self)) - start
        return found


@pytest.mark.parametrize("piece", ["$(", "$", "$(A)", "$()", "$x)", "$$", "$(x"])
def test_expansion_searches_a_text_a_few_times_and_not_from_each_dollar(piece: str) -> None:
    text = _Counted(piece * 2000)
    expand(text, {"A": "1"})
    assert text.searched <= 4 * len(text)


def test_references_that_multiply_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EXEC_STRING, "value", 1000)
    assert expand("$(A)$(A)", {"A": "x" * 500}) == "x" * 1000
    with pytest.raises(ConfigUnavailable, match="argument list too long"):
        expand("$(A)" * 1_000_000, {"A": "x" * 500})


async def test_an_environment_that_multiplies_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EXEC_TEXT, "value", 1000)
    env = [{"name": "A0", "value": "xx"}]
    env += [{"name": f"A{n}", "value": f"$(A{n - 1})$(A{n - 1})"} for n in range(1, 40)]
    body = {"spec": {"containers": [{"name": "a", "image": "i", "env": env}]}}
    pod = msgspec.convert(body, Pod)
    with pytest.raises(ConfigUnavailable, match="argument list too long"):
        await Environment(Server().client).of(pod, pod.spec.containers[0], [], AROUND)


async def test_what_many_variables_refer_to_is_read_once() -> None:
    client = Server().client
    await client.create(Namespace(metadata=ObjectMeta(name="default")))
    meta = ObjectMeta(name="c", namespace="default")
    await client.create(ConfigMap(metadata=meta, data={"key": "v"}))
    reads: list[str] = []

    class Counting:
        async def get(self, kind: Any, name: str, namespace: str) -> Any:
            reads.append(name)
            return await client.get(kind, name, namespace)

    def reference(name: str, key: str) -> dict[str, Any]:
        return {"configMapKeyRef": {"name": name, "key": key, "optional": True}}

    env = [{"name": f"A{n}", "valueFrom": reference("c", "key")} for n in range(50)]
    env += [{"name": f"B{n}", "valueFrom": reference("none", "key")} for n in range(50)]
    body = {
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"containers": [{"name": "a", "image": "i", "env": env}]},
    }
    pod = msgspec.convert(body, Pod)
    found = await Environment(cast("Client", Counting())).of(
        pod, pod.spec.containers[0], [], AROUND
    )
    assert found == {f"A{n}": "v" for n in range(50)}
    assert sorted(reads) == ["c", "none"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b\u00fc\u4e16", '"a b\u00fc\u4e16"'),
        ('a"b\\', '"a\\"b\\\\"'),
        ("\a\b\f\n\r\t\v", '"\\a\\b\\f\\n\\r\\t\\v"'),
        ("\0\x1b\x7f", '"\\x00\\x1b\\x7f"'),
        ("\x85\u2028\U000e0001", '"\\u0085\\u2028\\U000e0001"'),
    ],
)
def test_annotations_are_quoted_as_go_quotes(text: str, shown: str) -> None:
    assert quoted(text) == shown
    pod = Pod(metadata=ObjectMeta(annotations={"a": text}))
    assert field_value(pod, "metadata.annotations", AROUND) == f"a={shown}"


@given(st.text(alphabet="ab()x ", max_size=20))
def test_text_without_dollars_is_left_alone(text: str) -> None:
    assert expand(text, {"a": "1"}) == text


def _service(name: str, namespace: str, address: str) -> Service:
    spec = {"clusterIP": address, "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}
    return msgspec.convert(
        {"metadata": {"name": name, "namespace": namespace}, "spec": spec}, Service
    )


def test_services_are_named_as_upstream_names_them() -> None:
    services = [_service("my-db", "default", "10.43.0.5"), _service("other", "else", "10.43.0.6")]
    assert service_environment(services, "default", links=True) == {
        "MY_DB_SERVICE_HOST": "10.43.0.5",
        "MY_DB_SERVICE_PORT": "80",
        "MY_DB_SERVICE_PORT_HTTP": "80",
        "MY_DB_PORT": "tcp://10.43.0.5:80",
        "MY_DB_PORT_80_TCP": "tcp://10.43.0.5:80",
        "MY_DB_PORT_80_TCP_PROTO": "tcp",
        "MY_DB_PORT_80_TCP_PORT": "80",
        "MY_DB_PORT_80_TCP_ADDR": "10.43.0.5",
    }


def test_without_links_only_the_api_is_named() -> None:
    services = [
        _service("db", "default", "10.43.0.5"),
        _service("kubernetes", "default", "10.43.0.1"),
    ]
    assert set(service_environment(services, "x", links=False)) >= {"KUBERNETES_SERVICE_HOST"}
    assert "DB_SERVICE_HOST" not in service_environment(services, "default", links=False)


def pod_of(**container: Any) -> Pod:
    body = {
        "metadata": {
            "name": "p",
            "namespace": "default",
            "uid": "u",
            "labels": {"b": "2", "a": 'q"'},
        },
        "spec": {"nodeName": "n", "containers": [{"name": "app", "image": "a:1", **container}]},
    }
    return msgspec.convert(body, Pod)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "p"),
        ("metadata.labels['a']", 'q"'),
        ("metadata.labels", 'a="q\\""\nb="2"'),
        ("status.podIP", "10.42.0.2"),
        ("status.podIPs", "10.42.0.2,fd00::2"),
        ("status.hostIP", "192.0.2.1"),
        ("spec.nodeName", "n"),
    ],
)
def test_fields(path: str, expected: str) -> None:
    assert field_value(pod_of(), path, AROUND) == expected


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ConfigUnavailable, match="unsupported fieldPath"):
        field_value(pod_of(), "spec.hostname", AROUND)


@pytest.mark.parametrize(
    ("resource", "divisor", "expected"),
    [
        ("limits.cpu", "", "1"),
        ("limits.cpu", "1m", "500"),
        ("requests.memory", "1Mi", "64"),
        ("limits.memory", "1Mi", "1024"),
        ("requests.cpu", "1", "1"),
    ],
)
def test_resources(resource: str, divisor: str, expected: str) -> None:
    pod = pod_of(resources={"limits": {"cpu": "500m"}, "requests": {"memory": "64Mi"}})
    selector = ResourceFieldSelector(resource=resource, divisor=divisor)
    assert resource_value(pod, pod.spec.containers[0], selector, AROUND) == expected


async def test_values_come_from_objects_and_earlier_values() -> None:
    server = Server()
    await server.client.create(Namespace(metadata=ObjectMeta(name="default")))
    meta = ObjectMeta(name="m", namespace="default")
    await server.client.create(ConfigMap(metadata=meta, data={"k": "v", "l": "w"}))
    pod = pod_of(
        envFrom=[{"prefix": "P_", "configMapRef": {"name": "m"}}],
        env=[
            {"name": "ONE", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}},
            {"name": "TWO", "value": "$(ONE)-$(P_l)"},
            {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "x", "key": "k", "optional": True}}},
        ],
    )  # fmt: skip
    environment = Environment(server.client)
    found = await environment.of(pod, pod.spec.containers[0], [], AROUND)
    assert found == {"P_k": "v", "P_l": "w", "ONE": "v", "TWO": "v-w"}


async def test_what_is_missing_is_named() -> None:
    server = Server()
    await server.client.create(Namespace(metadata=ObjectMeta(name="default")))
    meta = ObjectMeta(name="m", namespace="default")
    await server.client.create(ConfigMap(metadata=meta, data={"k": "v"}))
    environment = Environment(server.client)
    for reference, message in (
        ({"configMapKeyRef": {"name": "gone", "key": "k"}}, 'configmap "gone" not found'),
        (
            {"configMapKeyRef": {"name": "m", "key": "x"}},
            "couldn't find key x in ConfigMap default/m",
        ),
        ({"secretKeyRef": {"name": "gone", "key": "k"}}, 'secret "gone" not found'),
    ):
        pod = pod_of(env=[{"name": "A", "valueFrom": reference}])
        with pytest.raises(ConfigUnavailable) as failure:
            await environment.of(pod, pod.spec.containers[0], [], AROUND)
        assert str(failure.value) == message
