from kubelite.config import AgentConfig, Config
from kubelite.doctor.wanted import wanted_of


def ports(config: Config | AgentConfig) -> list[int]:
    return [port.number for port in wanted_of(config).ports]


def test_ports_are_those_that_are_used() -> None:
    assert ports(Config(node_name="one")) == [6443, 10250, 10248, 80, 443]
    assert ports(Config(node_name="one", disable=("ingress",), healthz_port=0)) == [6443, 10250]
    assert ports(Config(node_name="one", disable_agent=True, https_listen_port=7)) == [7]
    assert ports(AgentConfig(node_name="one", kubelet_port=0)) == [10248, 80, 443]


def test_ranges_are_those_that_are_known() -> None:
    assert wanted_of(Config(node_name="one")).ranges == ("10.42.0.0/16", "10.43.0.0/16")
    assert wanted_of(AgentConfig(node_name="one")).ranges == ()
    named = AgentConfig(node_name="one", cluster_cidr="10.1.0.0/16")
    assert wanted_of(named).ranges == ("10.1.0.0/16",)
