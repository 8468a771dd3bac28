"""The plan of a cluster: names, networks, ports and settings."""

from typing import Any

import pytest

from kubelite.clusters.plan import (
    NAME_LENGTH_MAX,
    Plan,
    PlanFailed,
    Port,
    Surroundings,
    Wanted,
    agent_settings,
    check_name,
    free_network,
    identifier_of,
    kubeconfig_of,
    parse_port,
    plan_of,
    server_settings,
    with_other_port,
)
from kubelite.limits import CLUSTER_AGENTS

ROOT = Surroundings(is_root=True)
USER = Surroundings(is_root=False)
FOLDER = "/var/lib/kubelite-clusters/ci"


def _plan(around: Surroundings = ROOT, **wanted: Any) -> Plan:
    return plan_of(Wanted("ci", **wanted), FOLDER, around)


def test_a_real_cluster_has_a_network_and_a_host_for_each_node() -> None:
    plan = _plan(agents=2, simulate_nodes=3)
    assert [(node.short, node.name, node.address) for node in plan.nodes] == [
        ("server", "ci-server", "10.213.0.2"),
        ("agent-0", "ci-agent-0", "10.213.0.3"),
        ("agent-1", "ci-agent-1", "10.213.0.4"),
    ]
    assert (plan.gateway, plan.url) == ("10.213.0.1", "https://10.213.0.2:6443")
    assert plan.node("agent-0") == plan.node("ci-agent-0")
    assert plan.context == "kubelite-ci"
    links = [plan.bridge, *(plan.cable(node) for node in plan.nodes)]
    assert len(set(links)) == 4
    assert all(len(link) <= 15 for link in links)  # the kernel's limit


def test_cables_of_the_largest_cluster_have_names() -> None:
    plan = _plan(agents=CLUSTER_AGENTS.value)
    assert len({plan.cable(node) for node in plan.nodes}) == CLUSTER_AGENTS.value + 1
    assert all(len(plan.cable(node)) <= 15 for node in plan.nodes)


def test_simulated_nodes_alone_need_neither_root_nor_network() -> None:
    busy = Surroundings(is_root=False, ports={16443}, is_free=lambda address, port: port != 16444)
    plan = _plan(busy, simulate_nodes=3)
    assert (plan.nodes, plan.network, plan.url) == ((), "", "https://127.0.0.1:16445")
    settings = server_settings(plan, FOLDER + "/server")
    assert settings["disable-agent"] is True
    assert settings["bind-address"] == "127.0.0.1"
    assert settings["simulate-nodes"] == 3


def test_a_port_that_was_taken_meanwhile_gives_way_to_another() -> None:
    plan = _plan(USER, simulate_nodes=1)
    busy = Surroundings(is_root=False, is_free=lambda _, port: port != plan.api_port)
    assert with_other_port(plan, busy).api_port == plan.api_port + 1


def test_agents_beside_simulated_nodes_make_the_server_a_real_one() -> None:
    assert len(_plan(agents=0, simulate_nodes=3).nodes) == 1
    assert len(_plan().nodes) == 1


@pytest.mark.parametrize("name", ["a", "my-ci-7", "a" * NAME_LENGTH_MAX])
def test_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "A", "7up", "a_b", "a.b", "a-", "-a", "..", "a/b", "a\n", "a" * (NAME_LENGTH_MAX + 1)],
)
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(PlanFailed, match="cannot call a cluster"):
        check_name(name)


@pytest.mark.parametrize(
    ("taken", "network"),
    [
        ([], "10.213.0.0/24"),
        (["10.213.0.0/24", "10.213.1.0/24"], "10.213.2.0/24"),
        (["10.213.0.64/26"], "10.213.1.0/24"),
        (["10.213.0.0/17"], "10.213.128.0/24"),
        (["0.0.0.0/0", "192.168.1.0/24", "fd00::/8"], "10.213.0.0/24"),
    ],
)
def test_free_network(taken: list[str], network: str) -> None:
    assert str(free_network(taken)) == network


def test_no_network_is_free() -> None:
    with pytest.raises(PlanFailed, match="no network of 10"):
        free_network(["10.0.0.0/8"])


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("8080:80@ingress", Port("127.0.0.1", 8080, "server", 80)),
        ("8080:30080@agent-0", Port("127.0.0.1", 8080, "agent-0", 30080)),
        ("0.0.0.0:8443:443@ci-server", Port("0.0.0.0", 8443, "server", 443)),
        ("[::1]:8443:443@ingress", Port("::1", 8443, "server", 443)),
    ],
)
def test_ports(text: str, port: Port) -> None:
    assert parse_port(text, _plan(agents=1)) == port


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"ports": ("8080",)}, "must be"),
        ({"ports": ("8080:80",)}, "must be"),
        ({"ports": ("0:80@ingress",)}, "ports are 1 to 65535"),
        ({"ports": ("8080:65536@ingress",)}, "ports are 1 to 65535"),
        ({"ports": ("1.2.3:8080:80@ingress",)}, "does not appear to be"),
        ({"ports": ("8080:80@agent-1",)}, "has no node agent-1; it has server"),
        ({"ports": ("8080:80@ingress", "0.0.0.0:8080:81@ingress")}, "8080 is given twice"),
        ({"ports": ("9090:80@ingress",)}, "another cluster has 9090"),
        ({"ports": ("9091:80@ingress",)}, "9091 is in use"),
        ({"agents": -1}, "must be 0 to"),
        ({"agents": CLUSTER_AGENTS.value + 1}, "must be 0 to"),
        ({"simulate_nodes": -1}, "must be 0 or more"),
        ({"simulate_nodes": 1, "images": ("a.tar",)}, "simulated nodes hold no images"),
        ({"simulate_nodes": 1, "ports": ("8080:80@ingress",)}, "nothing answers on simulated nodes"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said(wanted: dict[str, Any], message: str) -> None:
    around = Surroundings(is_root=True, ports={9090}, is_free=lambda _, port: port != 9091)
    with pytest.raises(PlanFailed, match=message):
        _plan(around, **wanted)


def test_without_root_there_is_no_real_node() -> None:
    with pytest.raises(PlanFailed, match=r"real nodes need root.*--simulate-nodes 1"):
        _plan(USER, agents=1)


def test_the_cluster_sets_what_is_its_own() -> None:
    plan = _plan(agents=1, server={"data-dir": "/", "disable": ["ingress"]}, agent={"join": ["x"]})
    server = server_settings(plan, "/c/server")
    assert (server["data-dir"], server["disable"]) == ("/c/server/data", ["ingress"])
    agent = agent_settings(plan, plan.nodes[1], "/c/agent-0")
    assert agent["join"] == ["https://10.213.0.2:6443"]
    assert agent["token-file"] == "/c/agent-0/token"


def test_identifiers_differ_by_folder() -> None:
    assert identifier_of("/a/ci") != identifier_of("/b/ci")


def test_the_kubeconfig_has_names_of_its_own() -> None:
    written = """apiVersion: v1
kind: Config
clusters:
- name: kubelite
  cluster:
    server: https://127.0.0.1:6443
contexts:
- name: kubelite
  context:
    cluster: kubelite
    user: admin
current-context: kubelite
users:
- name: admin
  user:
    client-key-data: YQ==
"""
    expected = written.replace("https://127.0.0.1:6443", "https://10.213.0.2:6443")
    expected = expected.replace("name: kubelite", "name: kubelite-ci").replace(
        "cluster: kubelite", "cluster: kubelite-ci"
    )
    expected = expected.replace("context: kubelite", "context: kubelite-ci").replace(
        ": admin", ": kubelite-ci"
    )
    assert kubeconfig_of(_plan(), written) == expected
