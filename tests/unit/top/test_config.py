from pathlib import Path

import pytest

from kubelite.config import Config, InvalidConfig, load


def test_flags_win_over_environment_over_files(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("node-name: from-file\ncluster-domain: file.local\ntls-san: one\ndebug: true\n")
    (tmp_path / "config.yaml.d").mkdir()
    (tmp_path / "config.yaml.d" / "10.yaml").write_text("cluster-domain: more.local\n")
    environment = {"KUBELITE_NODE_NAME": "from-env", "KUBELITE_TLS_SAN": "a,b", "PATH": "/bin"}
    config = load({"node_name": "from-flag", "data_dir": None}, environment, file)
    assert config.node_name == "from-flag"
    assert config.cluster_domain == "more.local"
    assert config.tls_san == ("a", "b")
    assert config.debug


def test_later_files_replace_lists_or_add_to_them_as_in_k3s(tmp_path: Path) -> None:
    """As in the example of k3s' documentation of multiple config files."""
    file, more = tmp_path / "config.yaml", tmp_path / "config.yaml.d"
    more.mkdir()
    file.write_text("node-name: boop\nnode-label: [foo=bar, bar=baz]\ntls-san: a\n")
    (more / "test1.yaml").write_text(
        "write-kubeconfig-mode: '600'\nnode-taint: [alice=bob:NoExecute]\ntls-san: [b]\n"
    )
    (more / "test2.yaml").write_text(
        "write-kubeconfig-mode: '777'\nnode-label+: [other=what, three=four]\n"
        "node-taint+: [charlie=delta:NoSchedule]\ndisable+: servicelb\n"
    )
    (more / "test3.yml").write_text("node-name: ignored\n")
    config = load({}, {}, file)
    assert config.node_name == "boop"
    assert config.write_kubeconfig_mode == "777"
    assert config.node_label == ("foo=bar", "bar=baz", "other=what", "three=four")
    assert config.node_taint == ("alice=bob:NoExecute", "charlie=delta:NoSchedule")
    assert config.tls_san == ("b",)
    assert config.disable == ("servicelb",)
    assert load({"node_label": ("a=b",)}, {}, file).node_label == ("a=b",)
    (more / "test4.yaml").write_text("node-name+: more\n")
    with pytest.raises(InvalidConfig, match=r"test4\.yaml: node-name\+: only a list"):
        load({}, {}, file)


def test_defaults() -> None:
    config = Config()
    assert config.dns_address == "10.43.0.10"
    assert config.node_ports == range(30000, 32768)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"https_listen_port": 99999}, "--https-listen-port 99999: must be a port number"),
        ({"cluster_cidr": "10.42"}, "--cluster-cidr 10.42"),
        ({"cluster_cidr": "10.43.0.0/16"}, "must not overlap --cluster-cidr"),
        ({"cluster_dns": "10.0.0.1"}, "--cluster-dns 10.0.0.1: must be within --service-cidr"),
        ({"service_node_port_range": "9"}, "must be FIRST-LAST"),
        ({"write_kubeconfig_mode": "rw"}, "--write-kubeconfig-mode rw: must be octal"),
        ({"bind_address": "here"}, "--bind-address here"),
    ],
)
def test_unusable_values_are_named(flags: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidConfig, match=words):
        load(flags, {}, Path("/nonexistent"))


def test_unknown_keys_are_named(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("nodename: x\n")
    with pytest.raises(InvalidConfig, match='unknown key "nodename"'):
        load({}, {}, file)
    with pytest.raises(InvalidConfig, match="unknown variable KUBELITE_NODENAME"):
        load({}, {"KUBELITE_NODENAME": "x"}, Path("/nonexistent"))
    file.write_text("https-listen-port: many\n")
    with pytest.raises(InvalidConfig, match="https-listen-port many: must be a whole number"):
        load({}, {}, file)
    file.write_text("- 1\n")
    with pytest.raises(InvalidConfig, match="must hold keys and values"):
        load({}, {}, file)


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ({}, (None, None, "")),
        ({"docker_socket": "d.sock"}, (Path("d.sock"), "docker", "")),
        ({"container_runtime_endpoint": "unix:///run/x.sock"}, (Path("/run/x.sock"), None, "")),
        ({"container_runtime_endpoint": "/run/x.sock"}, (Path("/run/x.sock"), None, "")),
        ({"container_runtime_endpoint": "containerd"}, (None, None, "containerd")),
        ({"container_runtime_endpoint": "docker"}, (None, None, "docker")),
    ],
)
def test_an_engine_is_named_by_its_socket_or_its_kind(
    flags: dict[str, str], wanted: object, tmp_path: Path
) -> None:
    assert load(flags, {}, tmp_path / "none").wanted_engine == wanted


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:2375", "unix://x", "x.sock", "rkt", "unix:"])
def test_an_engine_that_cannot_be_meant_is_refused(endpoint: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=r"must be unix:///FILE, docker or containerd"):
        load({"container_runtime_endpoint": endpoint}, {}, tmp_path / "none")


def test_two_engines_are_refused(tmp_path: Path) -> None:
    flags = {"container_runtime_endpoint": "containerd", "docker_socket": "/run/docker.sock"}
    with pytest.raises(InvalidConfig, match=r"--container-runtime-endpoint is given too"):
        load(flags, {}, tmp_path / "none")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"shutdown_grace_period": "x"}, "--shutdown-grace-period x: time: invalid duration"),
        ({"shutdown_grace_period": "10ms"}, "must be either zero or otherwise >= 1 sec"),
        (
            {"shutdown_grace_period_critical_pods": "5s"},
            "--shutdown-grace-period 0s: must be >= the part of critical pods, 5s",
        ),
        (
            {"shutdown_grace_period_by_pod_priority": ("1",)},
            "--shutdown-grace-period-by-pod-priority 1: 1 must be PRIORITY=DURATION",
        ),
    ],
)
def test_shutdown_periods_that_cannot_be(flags: dict[str, str], words: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=words):
        load(flags, {}, tmp_path / "absent")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("cpu_manager_policy", "static", "--cpu-manager-policy static: this node supports none"),
        ("memory_manager_policy", "Static", "this node supports None alone"),
        ("topology_manager_policy", "single-numa-node", "this node supports none alone"),
        ("memory_swap_behavior", "LimitedSwap", "this node supports NoSwap alone"),
        ("cpu_manager_policy", "None", "--cpu-manager-policy None: must be none"),
        ("topology_manager_policy", "x", "must be none"),
    ],
)
def test_policies_that_are_not_supported_are_refused(
    field: str, value: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidConfig, match=words):
        load({field: value}, {}, tmp_path / "absent")
