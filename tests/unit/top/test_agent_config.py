"""The settings of an agent."""

import re
from pathlib import Path

import pytest

from kubelite.config import AgentConfig, Config, InvalidConfig, help_of, load, load_agent, settings

NOWHERE = Path("/nowhere/config.yaml")
TOKEN = "abcdef.0123456789abcdef"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://server", "https://server:6443"),
        ("https://server:443/", "https://server:443"),
        ("https://192.0.2.1:7000", "https://192.0.2.1:7000"),
        ("https://[2001:db8::1]", "https://[2001:db8::1]:6443"),
    ],
)
def test_servers_to_join(given: str, url: str) -> None:
    assert load_agent({"join": (given, "https://b")}, {}, NOWHERE).servers == (
        url,
        "https://b:6443",
    )


@pytest.mark.parametrize(
    "given",
    [
        "server:6443",
        "http://server:6443",
        "https://",
        "https://server:70000",
        "https://user:word@server",
        "https://server/path",
        "https://server?x",
        "https://-x-",
        "https://[::1",
    ],
)
def test_what_is_no_server_to_join(given: str) -> None:
    with pytest.raises(InvalidConfig, match=f"^cannot use --join {re.escape(given)}: "):
        load_agent({"join": (given,)}, {}, NOWHERE)


def test_one_file_and_one_environment_serve_server_and_agent(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("join: https://a\ntls-san: [b]\nnode-label: [c=d]\n")
    environment = {"KUBELITE_TOKEN": TOKEN, "KUBELITE_DISABLE_AGENT": "true"}
    agent, server = load_agent({}, environment, file), load({}, environment, file)
    assert (agent.servers, agent.token, agent.node_label) == (("https://a:6443",), TOKEN, ("c=d",))
    assert (server.tls_san, server.disable_agent, server.node_label) == (("b",), True, ("c=d",))
    for read in (load, load_agent):
        with pytest.raises(InvalidConfig, match="unknown variable KUBELITE_TOKENS"):
            read({}, {"KUBELITE_TOKENS": TOKEN}, file)


def test_an_agent_has_no_settings_of_a_server() -> None:
    own, shared = set(settings(AgentConfig)), set(settings(Config))
    assert own - shared == {"join", "token", "token_file", "ca_file"}
    assert not {"write_kubeconfig", "bind_address", "disable_agent", "secrets_encryption"} & own


def test_a_token_is_given_once_and_never_shown(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="one of --token"):
        load_agent({"token_file": "/f"}, {"KUBELITE_TOKEN": TOKEN}, NOWHERE)
    with pytest.raises(InvalidConfig, match="must not have control characters") as caught:
        load_agent({"token": f"{TOKEN}\x07"}, {}, NOWHERE)
    assert "0123" not in str(caught.value)
    file = tmp_path / "config.yaml"
    file.write_text("token: [0123456789]\n")
    with pytest.raises(InvalidConfig, match="must be a text") as caught:
        load_agent({}, {}, file)
    assert "0123" not in str(caught.value)
    assert "list of processes" in help_of("token", AgentConfig)


@pytest.mark.parametrize("read", [load, load_agent])
@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"node_label": ("node-role.kubernetes.io/worker=",)}, "--node-label .*: unknown 'kuber"),
        ({"node_label": ("a",)}, "--node-label a: malformed label a, must be KEY=VALUE"),
        ({"node_taint": ("a=b:Never",)}, "--node-taint a=b:Never: invalid taint effect: Never"),
        ({"node_external_ip": "here"}, "--node-external-ip here: "),
        ({"node_external_ip": "0.0.0.0"}, "--node-external-ip 0.0.0.0: must be an address"),
        ({"kubelet_bind_address": "x"}, "--kubelet-bind-address x: "),
        ({"interface": "eth0", "node_ip": "192.0.2.1"}, "--interface eth0: --node-ip is given"),
        ({"interface": "a/b"}, "--interface a/b: must be the name"),
        ({"node_name": "A"}, "--node-name A: must "),
        ({"kubelet_port": "70000"}, "--kubelet-port 70000: must be a port number"),
        ({"data_dir": ""}, '--data-dir "": must not be empty'),
    ],
)
def test_what_no_node_can_use(read: object, values: dict[str, object], reason: str) -> None:
    assert callable(read)
    with pytest.raises(InvalidConfig, match=f"^cannot use {reason}"):
        read(values, {}, NOWHERE)


def test_where_the_endpoint_of_a_node_listens() -> None:
    assert AgentConfig().kubelet_address == "127.0.0.1"
    assert Config(bind_address="192.0.2.1").kubelet_address == "192.0.2.1"
    assert Config(kubelet_bind_address="127.0.0.1").kubelet_address == "127.0.0.1"
