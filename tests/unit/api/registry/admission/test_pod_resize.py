from typing import Any

from msgspec import convert

from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.registry.admission.pod_resize import PodResizeValidator


def node(name: str, labels: dict[str, str] | None = None, **allocatable: str) -> Node:
    status = {"allocatable": allocatable}
    return convert({"metadata": {"name": name, "labels": labels or {}}, "status": status}, Node)


PLUGIN = PodResizeValidator(
    FixedLookup(
        [
            node("small", cpu="2", memory="1Gi"),
            node("empty"),
            node("other", {"kubernetes.io/os": "windows"}, cpu="9", memory="9Gi"),
        ]
    )
)


def pod(cpu: str = "1", memory: str = "1", node_name: str = "small", **more: Any) -> dict[str, Any]:
    requests = {"cpu": cpu, "memory": memory}
    containers = [{"name": "a", "resources": {"requests": requests}}]
    return {
        "metadata": {"name": "p"},
        "spec": {"nodeName": node_name, "containers": containers, **more},
    }


async def test_what_the_node_can_grant_passes(ask: Any) -> None:
    for changed in (pod("2", "1Gi"), pod("9", node_name=""), pod(node_name="small")):
        assert (await ask(PLUGIN, "pods/resize", changed, old=pod())).item


async def test_other_writes_are_not_judged(ask: Any) -> None:
    for path in ("pods", "pods/status"):
        assert (await ask(PLUGIN, path, pod("9"), old=pod())).item
    # The resources were there before, whatever else the request changes.
    assert (await ask(PLUGIN, "pods/resize", pod("9"), old=pod("9"))).item


async def test_refusals(ask: Any) -> None:
    memory = "memory, requested: 2147483648, allocatable: 1073741824"
    words = "node didn't have enough allocatable resources: "
    whole: dict[str, Any] = {"resources": {"requests": {"cpu": "3"}}}
    for changed, reason in (
        (pod("2001m"), f"{words}cpu, requested: 2001, allocatable: 2000"),
        (
            pod("3", "2Gi"),
            f"{words}cpu, requested: 3000, allocatable: 2000; {memory}",
        ),
        (pod(**whole), f"{words}cpu, requested: 3000, allocatable: 2000"),
        (pod("2", overhead={"cpu": "1m"}), f"{words}cpu, requested: 2001, allocatable: 2000"),
        (
            pod("1m", node_name="empty"),
            f"{words}cpu, requested: 1, allocatable: 0; memory, requested: 1, allocatable: 0",
        ),
        (pod("2", node_name="gone"), 'node "gone" not found'),
        (
            pod("2", node_name="other"),
            'pod resize is only supported on linux nodes, node "other" is "windows"',
        ),
    ):
        refusal = (await ask(PLUGIN, "pods/resize", changed, old=pod("500m"))).refusal
        assert refusal == f'pods "p" is forbidden: {reason}'
