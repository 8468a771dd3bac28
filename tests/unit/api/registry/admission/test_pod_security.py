from typing import Any

import pytest
from msgspec import convert

from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.registry.admission.pod_security import PodSecurity, Standard, policy_of

PREFIX = "pod-security.kubernetes.io/"


def labels(**modes: str) -> dict[str, str]:
    return {PREFIX + mode.replace("_", "-"): value for mode, value in modes.items()}


def plugin(*pods: dict[str, Any], **modes: str) -> PodSecurity:
    namespace = convert({"metadata": {"name": "shop", "labels": labels(**modes)}}, Namespace)
    return PodSecurity(FixedLookup([namespace, *(convert(pod, Pod) for pod in pods)]))


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"containers": [{"name": "c"}], **spec},
    }


async def test_enforcement(ask: Any) -> None:
    refused = await ask(plugin(enforce="baseline"), "pods", pod(hostNetwork=True))
    assert refused.refusal == (
        'pods "p" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)'
    )
    assert (await ask(plugin(enforce="baseline"), "pods", pod())).item
    assert (await ask(plugin(), "pods", pod(hostNetwork=True))).item
    assert (await ask(plugin(enforce="privileged"), "pods", pod(hostNetwork=True))).item
    version = await ask(
        plugin(enforce="baseline", enforce_version="v1.20"), "pods", pod(hostPID=True)
    )
    assert 'violates PodSecurity "baseline:v1.20"' in version.refusal


def node(*handlers: tuple[str, bool | None]) -> Node:
    found = [
        {"name": name, "features": {} if users is None else {"userNamespaces": users}}
        for name, users in handlers
    ]
    return convert(
        {"metadata": {"name": f"n{handlers}"}, "status": {"runtimeHandlers": found}}, Node
    )


ABLE, UNABLE = node(("runc", False), ("", True)), node(("", False), ("kata", True))


@pytest.mark.parametrize(
    ("nodes", "relaxed"),
    [
        ([], False),
        ([UNABLE], False),
        ([ABLE], True),
        ([ABLE, UNABLE], False),
        ([ABLE, node()], False),
        ([ABLE, node(("", None))], False),
    ],
)
async def test_user_namespaces_count_when_every_node_has_them(
    ask: Any, nodes: list[Node], relaxed: bool
) -> None:
    modes = labels(enforce="restricted", warn="restricted", audit="restricted")
    namespace = convert({"metadata": {"name": "shop", "labels": modes}}, Namespace)
    judge = PodSecurity(FixedLookup([namespace, *nodes]))
    context = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsUser": 0}
    shared = {"seccompProfile": {"type": "RuntimeDefault"}}
    containers = [{"name": "c", "securityContext": context}]
    spec: dict[str, Any] = {"hostUsers": False, "containers": containers, "securityContext": shared}
    asked = await ask(judge, "pods", pod(**spec))
    if relaxed:
        assert asked.error is None
        assert asked.request.warnings == []
    else:
        assert "runAsUser=0" in asked.refusal
    own = await ask(judge, "pods", pod(**spec | {"hostUsers": True}))
    assert "runAsUser=0" in own.refusal
    template = {"spec": {"template": pod(**spec)}}
    warned = await ask(judge, "deployments.apps", template)
    assert (warned.request.warnings == []) is relaxed


async def test_warnings(ask: Any) -> None:
    warned = await ask(plugin(warn="baseline"), "pods", pod(hostIPC=True))
    assert warned.error is None
    assert warned.request.warnings == [
        'would violate PodSecurity "baseline:latest": host namespaces (hostIPC=true)'
    ]


@pytest.mark.parametrize(
    ("path", "wrap"),
    [
        ("deployments.apps", lambda template: {"spec": {"template": template}}),
        ("jobs.batch", lambda template: {"spec": {"template": template}}),
        (
            "cronjobs.batch",
            lambda template: {"spec": {"jobTemplate": {"spec": {"template": template}}}},
        ),
        ("podtemplates", lambda template: {"template": template}),
    ],
)
async def test_workloads_are_warned_about(ask: Any, path: str, wrap: Any) -> None:
    warned = await ask(plugin(enforce="baseline"), path, wrap(pod(hostIPC=True)))
    assert warned.error is None
    assert len(warned.request.warnings) == 1
    assert (await ask(plugin(enforce="baseline"), path, {"spec": {}})).request.warnings == []


async def test_only_significant_updates_are_judged(ask: Any) -> None:
    strict, old = plugin(enforce="baseline"), pod(hostNetwork=True)
    assert (await ask(strict, "pods", pod(hostNetwork=True, tolerations=[{}]), old=old)).item
    image = pod(hostNetwork=True, containers=[{"name": "c", "image": "new"}])
    assert (await ask(strict, "pods", image, old=old)).error
    assert (await ask(strict, "pods/status", image, old=old)).item
    added = pod(hostNetwork=True, ephemeralContainers=[{"name": "e", "image": "x"}])
    assert (await ask(strict, "pods/ephemeralcontainers", added, old=old)).error


async def test_labels_must_be_right(ask: Any) -> None:
    refused = await ask(
        plugin(), "namespaces", {"metadata": {"name": "n", "labels": labels(enforce="strict")}}
    )
    assert refused.error.code == 422
    assert (
        'Invalid value: "strict": must be one of privileged, baseline, restricted'
        in refused.refusal
    )
    version = await ask(
        plugin(), "namespaces", {"metadata": {"name": "n", "labels": labels(warn_version="2")}}
    )
    assert 'must be "latest" or "v1.x"' in version.refusal
    bad = {"metadata": {"name": "n", "labels": labels(enforce="strict")}}
    assert (await ask(plugin(), "namespaces", bad, old=bad)).error is None


async def test_raising_the_level_tells_what_it_hits(ask: Any) -> None:
    pods = [pod(name, hostNetwork=True) for name in ("b", "a", "c")] + [
        pod("good"),
        pod("d", hostPID=True, volumes=[{"name": "v", "hostPath": {"path": "/"}}]),
    ]
    old = {"metadata": {"name": "shop"}}
    new = {"metadata": {"name": "shop", "labels": labels(enforce="baseline")}}
    warned = await ask(plugin(*pods), "namespaces", new, old=old)
    assert warned.request.warnings == [
        'existing pods in namespace "shop" violate the new PodSecurity enforce level "baseline:latest"',
        "a (and 2 other pods): host namespaces",
        "d: host namespaces, hostPath volumes",
    ]
    assert (await ask(plugin(*pods), "namespaces", old, old=new)).request.warnings == []


def test_policies() -> None:
    policy = policy_of(labels(enforce="restricted", enforce_version="v1.30"))
    assert policy.warn == Standard("restricted", "v1.30")
    assert policy.audit == Standard()
    assert policy_of(labels(enforce="baseline", warn="privileged")).warn == Standard()
    assert policy_of(labels(enforce="nonsense")).enforce == Standard("restricted")
    assert policy_of(labels(audit="nonsense")).audit == Standard()
