from typing import Any

import pytest

from kubelite.api.kinds.core.scheduling import Toleration
from kubelite.api.machinery.tolerations import tolerates
from kubelite.control.scheduler.filters import rejection
from kubelite.control.scheduler.node_info import NodeInfo
from kubelite.control.scheduler.pod_info import PodInfo
from kubelite.control.scheduler.requests import pod_requests
from unit.control.scheduler.pods import make_node, make_pod


def judge(pod: dict[str, Any], node: dict[str, Any], *others: dict[str, Any]) -> tuple[str, ...]:
    info = NodeInfo("n")
    info.set_node(make_node("n", **node))
    for number, other in enumerate(others):
        info.add(PodInfo(make_pod(f"other-{number}", **other)))
    found = rejection(PodInfo(make_pod("p", **pod)), info)
    return found.reasons if found else ()


TAINT = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
AFFINITY = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [
                {"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["4"]}]},
                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]},
            ]
        }
    }
}


@pytest.mark.parametrize(
    ("pod", "node", "others", "reasons"),
    [
        ({}, {}, [], ()),
        ({"cpu": "5"}, {}, [], ("Insufficient cpu",)),
        (
            {"cpu": "3", "memory": "9Gi"},
            {},
            [{"cpu": "2"}],
            ("Insufficient cpu", "Insufficient memory"),
        ),
        ({}, {"pods": "1"}, [{}], ("Too many pods",)),
        ({}, {"unschedulable": True}, [], ("node(s) were unschedulable",)),
        (
            {"tolerations": [{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}]},
            {"unschedulable": True},
            [],
            (),
        ),
        ({}, {"taints": [TAINT]}, [], ("node(s) had untolerated taint(s)",)),
        ({"tolerations": [{"operator": "Exists"}]}, {"taints": [TAINT]}, [], ()),
        ({}, {"taints": [{**TAINT, "effect": "PreferNoSchedule"}]}, [], ()),
        (
            {"nodeSelector": {"disk": "ssd"}},
            {},
            [],
            ("node(s) didn't match Pod's node affinity/selector",),
        ),
        ({"nodeSelector": {"disk": "ssd"}}, {"labels": {"disk": "ssd"}}, [], ()),
        ({"affinity": AFFINITY}, {"labels": {"cores": "2"}}, [], ()),
        (
            {"ports": [{"containerPort": 80, "hostPort": 80}]},
            {},
            [{"ports": [{"containerPort": 80, "hostPort": 80, "hostIP": "127.0.0.1"}]}],
            ("node(s) didn't have free ports for the requested pod ports",),
        ),
        (
            {"ports": [{"containerPort": 80, "hostPort": 80, "protocol": "UDP"}]},
            {},
            [{"ports": [{"containerPort": 80, "hostPort": 80}]}],
            (),
        ),
    ],
)
def test_reasons(
    pod: dict[str, Any],
    node: dict[str, Any],
    others: list[dict[str, Any]],
    reasons: tuple[str, ...],
) -> None:
    assert judge(pod, node, *others) == reasons


@pytest.mark.parametrize(
    ("toleration", "covers"),
    [
        (Toleration(key="gpu", value="yes"), True),
        (Toleration(key="gpu", operator="Equal", value="no"), False),
        (Toleration(key="gpu", operator="Exists", effect="NoExecute"), False),
        (Toleration(operator="Exists"), True),
        (Toleration(value="yes"), False),
    ],
)
def test_tolerations(toleration: Toleration, covers: bool) -> None:
    assert tolerates(toleration, ("gpu", "yes", "NoSchedule")) is covers


def test_requests_count_init_containers_sidecars_and_overhead() -> None:
    def container(cpu: str, **more: Any) -> dict[str, Any]:
        return {"name": "i", "resources": {"requests": {"cpu": cpu}}, **more}

    plain = make_pod("p", cpu="1", initContainers=[container("3"), container("2")])
    assert pod_requests(plain)["cpu"] == 3000
    sidecar = make_pod(
        "p", cpu="1", initContainers=[container("500m", restartPolicy="Always"), container("2")]
    )
    assert pod_requests(sidecar)["cpu"] == 2500
    heavy = make_pod("p", cpu="1", overhead={"cpu": "250m"})
    assert pod_requests(heavy)["cpu"] == 1250
    whole = make_pod("p", cpu="1", resources={"requests": {"cpu": "7"}})
    assert pod_requests(whole)["cpu"] == 7000
