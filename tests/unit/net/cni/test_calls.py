"""What plugins are told, and what they answer."""

import json
from typing import Any

import pytest

from kubelite.net.cni.calls import (
    Attachment,
    InvalidBandwidth,
    PluginFailed,
    addresses_of,
    capabilities_of,
    environment,
    plugin_input,
    read_result,
)
from kubelite.net.cni.configuration import Network
from kubelite.node.network import HostPort

NETWORK = Network("pods", "1.0.0", ())
ATTACHED = Attachment("uid-1", "shop/web", "/proc/7/ns/net", (4, 5), NETWORK)


def test_a_call_about_a_pod_names_it() -> None:
    assert environment("ADD", ATTACHED, ["/opt/cni/bin", "/usr/lib/cni"]) == {
        "CNI_COMMAND": "ADD",
        "CNI_PATH": "/opt/cni/bin:/usr/lib/cni",
        "CNI_CONTAINERID": "uid-1",
        "CNI_NETNS": "/proc/7/ns/net",
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;"
        "K8S_POD_INFRA_CONTAINER_ID=uid-1;K8S_POD_UID=uid-1",
    }
    assert environment("STATUS", None, ["/x"]) == {"CNI_COMMAND": "STATUS", "CNI_PATH": "/x"}


def test_only_what_a_plugin_is_capable_of_is_told() -> None:
    capabilities = capabilities_of(
        [HostPort(8080, 80, "UDP", "10.0.0.1")],
        {"kubernetes.io/ingress-bandwidth": "1M", "kubernetes.io/egress-bandwidth": "10k"},
    )

    def told(**can: bool) -> dict[str, Any]:
        plugin = {"type": "x", "capabilities": can, "cniVersions": ["1.0.0"], "mtu": 9}
        document: dict[str, Any] = json.loads(
            plugin_input(NETWORK, plugin, capabilities=capabilities)
        )
        return document

    assert told() == {"type": "x", "mtu": 9, "name": "pods", "cniVersion": "1.0.0"}
    assert told(portMappings=True, bandwidth=False)["runtimeConfig"] == {
        "portMappings": [
            {"hostPort": 8080, "containerPort": 80, "protocol": "udp", "hostIP": "10.0.0.1"}
        ]
    }
    assert told(bandwidth=True)["runtimeConfig"]["bandwidth"] == {
        "ingressRate": 1_000_000,
        "ingressBurst": 2**31 - 1,
        "egressRate": 10_000,
        "egressBurst": 2**31 - 1,
    }


@pytest.mark.parametrize("text", ["x", "999", "2P", "-1M"])
def test_a_bandwidth_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(InvalidBandwidth, match="egress-bandwidth: "):
        capabilities_of([], {"kubernetes.io/egress-bandwidth": text})


def test_a_plugins_result_and_the_valid_connections_are_passed_on() -> None:
    given = json.loads(
        plugin_input(NETWORK, {"type": "x"}, previous={"ips": []}, valid=[{"containerID": "a"}])
    )
    assert given["prevResult"] == {"ips": []}
    assert given["cni.dev/valid-attachments"] == [{"containerID": "a"}]


@pytest.mark.parametrize(
    ("code", "output", "errors", "said"),
    [
        (
            1,
            b'{"code":7,"msg":"no lease","details":"pool is full"}',
            b"",
            "failed: no lease; pool is full",
        ),
        (1, b"oops", b"panic: x", "failed: panic: x"),
        (2, b"", b"", "netplugin failed with exit code 2"),
        (0, b"oops", b"", "its answer is no JSON"),
        (0, b"[]", b"", "its answer is no JSON"),
    ],
)
def test_failures_are_told_in_the_plugins_words(
    code: int, output: bytes, errors: bytes, said: str
) -> None:
    with pytest.raises(PluginFailed, match=said):
        read_result("bridge", code, output, errors)


def test_an_error_is_bounded() -> None:
    with pytest.raises(PluginFailed) as caught:
        read_result("x", 1, json.dumps({"msg": "m" * 10_000}).encode(), b"")
    assert len(str(caught.value)) <= 2048


INTERFACES = [{"name": "cni0"}, {"name": "eth0", "sandbox": "/proc/7/ns/net"}]


@pytest.mark.parametrize(
    ("ips", "found"),
    [
        ([{"address": "10.1.0.2/24"}], ("10.1.0.2",)),
        (
            [
                {"address": "10.1.0.1/24", "interface": 0},
                {"address": "10.1.0.2/24", "interface": 1},
            ],
            ("10.1.0.2",),
        ),
        ([{"address": "fd00::2/64"}, {"address": "10.1.0.2/24"}], ("fd00::2", "10.1.0.2")),
        ([{"address": "10.1.0.2/24"}, {"address": "10.1.0.3/24"}], ("10.1.0.2",)),
        ([{"address": "10.1.0.2/24", "interface": 9}], ()),
        ([{"address": "127.0.0.1/8"}, {"address": "0.0.0.0/0"}, {"address": "x"}, 5], ()),
        (None, ()),
    ],
)
def test_the_pods_addresses_are_read_from_a_result(ips: object, found: tuple[str, ...]) -> None:
    assert addresses_of({"ips": ips, "interfaces": INTERFACES}) == found
