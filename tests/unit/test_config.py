from pathlib import Path

import pytest

from kubelite.config import InvalidConfig, load, node_name_problem

NOWHERE = Path("/nowhere/config.yaml")


@pytest.mark.parametrize("name", ["a", "node-1", "node.example.org", "n" * 52])
def test_names_a_node_can_have(name: str) -> None:
    assert node_name_problem(name) == ""
    assert load({"node_name": name}, {}, NOWHERE).name_of_node == name


@pytest.mark.parametrize("name", ["n" * 53, "Node", "-a", "a-", "a..b", "a_b", "a b", "a\n", "ä"])
def test_names_a_node_cannot_have(name: str) -> None:
    with pytest.raises(InvalidConfig, match=f"^cannot use --node-name {name}: must "):
        load({"node_name": name}, {}, NOWHERE)


def test_what_wins() -> None:
    environment = {"KUBELITE_HTTPS_LISTEN_PORT": "7000", "KUBELITE_DEBUG": "true"}
    config = load({"https_listen_port": 7001, "node_name": None}, environment, NOWHERE)
    assert (config.https_listen_port, config.debug) == (7001, True)
    with pytest.raises(InvalidConfig, match="unknown variable KUBELITE_NONSENSE"):
        load({}, {"KUBELITE_NONSENSE": "1"}, NOWHERE)


@pytest.mark.parametrize("field", ["tls_san", "oidc_required_claim", "allowed_unsafe_sysctls"])
def test_every_list_is_split_in_the_environment_and_may_be_one_text_in_a_file(
    field: str, tmp_path: Path
) -> None:
    variable = f"KUBELITE_{field.upper()}"
    config = load({}, {variable: "net.a,net.b"}, NOWHERE)
    assert getattr(config, field) == ("net.a", "net.b")
    file = tmp_path / "config.yaml"
    file.write_text(f"{field.replace('_', '-')}: net.a\n")
    assert getattr(load({}, {}, file), field) == ("net.a",)


@pytest.mark.parametrize("pattern", ["vm.*", "kernel.core_pattern", "*", "net.*.x"])
def test_a_sysctl_of_the_whole_host_cannot_be_allowed(pattern: str) -> None:
    with pytest.raises(InvalidConfig, match=r"^cannot use --allowed-unsafe-sysctls .*sysctl"):
        load({"allowed_unsafe_sysctls": ("net.core.somaxconn", pattern)}, {}, NOWHERE)


@pytest.mark.parametrize(
    ("cidr", "size"), [("10.42.0.0/16", 16), ("10.42.0.0/24", 28), ("10.0.0.0/8", 30)]
)
def test_parts_of_the_pod_addresses(cidr: str, size: int) -> None:
    given = {"cluster_cidr": cidr, "node_cidr_mask_size": size, "service_cidr": "192.168.0.0/16"}
    assert load(given, {}, NOWHERE).node_cidr_mask_size == size
    assert load({}, {"KUBELITE_NODE_CIDR_MASK_SIZE": "26"}, NOWHERE).node_cidr_mask_size == 26


@pytest.mark.parametrize("size", [15, 31, 0, -1])
def test_parts_that_do_not_fit_into_the_pod_addresses(size: int) -> None:
    wording = f"^cannot use --node-cidr-mask-size {size}: must be 16 to 30 for pod addresses"
    with pytest.raises(InvalidConfig, match=wording):
        load({"node_cidr_mask_size": size}, {}, NOWHERE)
