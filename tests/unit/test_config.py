from ipaddress import ip_address
from pathlib import Path

import pytest

from kubelite.config import (
    Config,
    InvalidConfig,
    help_of,
    load,
    node_name_problem,
    settings,
)

NOWHERE = Path("/nowhere/config.yaml")


@pytest.mark.parametrize("name", ["a", "node-1", "node.example.org", "n" * 52])
def test_names_a_node_can_have(name: str) -> None:
    assert node_name_problem(name) == ""
    assert load({"node_name": name}, {}, NOWHERE).name_of_node == name


@pytest.mark.parametrize("name", ["n" * 53, "Node", "-a", "a-", "a..b", "a_b", "a b", "ä"])
def test_names_a_node_cannot_have(name: str) -> None:
    with pytest.raises(InvalidConfig, match=f"^cannot use --node-name {name}: must "):
        load({"node_name": name}, {}, NOWHERE)


def test_what_wins() -> None:
    environment = {"KUBELITE_HTTPS_LISTEN_PORT": "7000", "KUBELITE_DEBUG": "true"}
    config = load({"https_listen_port": 7001, "node_name": None}, environment, NOWHERE)
    assert (config.https_listen_port, config.debug) == (7001, True)
    with pytest.raises(InvalidConfig, match="unknown variable KUBELITE_NONSENSE"):
        load({}, {"KUBELITE_NONSENSE": "1"}, NOWHERE)


@pytest.mark.parametrize("field", ["enable_admission_plugins", "disable_admission_plugins"])
def test_admission_plugins_are_named_as_kubernetes_names_them(field: str) -> None:
    assert getattr(load({field: ("DenyServiceExternalIPs",)}, {}, NOWHERE), field)
    flag = field.replace("_", "-")
    for name in ("RoleEscalation", "denyserviceexternalips", ""):
        with pytest.raises(InvalidConfig, match=f"^cannot use --{flag} .*must be one of"):
            load({field: (name,)}, {}, NOWHERE)


def test_what_can_be_switched_off_has_a_name() -> None:
    assert load({"disable": ("metrics-server",)}, {}, NOWHERE).disable == ("metrics-server",)
    with pytest.raises(InvalidConfig, match=r"^cannot use --disable kube-proxy: "):
        load({"disable": ("kube-proxy",)}, {}, NOWHERE)


@pytest.mark.parametrize("field", ["tls_san", "oidc_required_claim", "allowed_unsafe_sysctls"])
def test_every_list_is_split_in_the_environment_and_may_be_one_text_in_a_file(
    field: str, tmp_path: Path
) -> None:
    one, two = ("a=1", "b=2") if field == "oidc_required_claim" else ("net.a", "net.b")
    variable = f"KUBELITE_{field.upper()}"
    config = load({}, {variable: f"{one},{two}"}, NOWHERE)
    assert getattr(config, field) == (one, two)
    file = tmp_path / "config.yaml"
    file.write_text(f"{field.replace('_', '-')}: {one}\n")
    assert getattr(load({}, {}, file), field) == (one,)


def test_pulls_are_bounded_or_one_after_the_other() -> None:
    assert load({}, {}, NOWHERE).pulls_at_once == 4
    assert load({"max_parallel_image_pulls": 9}, {}, NOWHERE).pulls_at_once == 9
    assert load({"serialize_image_pulls": True}, {}, NOWHERE).pulls_at_once == 1
    with pytest.raises(InvalidConfig, match=r"^cannot use --max-parallel-image-pulls 0: must be"):
        load({"max_parallel_image_pulls": 0}, {}, NOWHERE)
    with pytest.raises(InvalidConfig, match=r"^cannot use --registry-qps -1: must not be"):
        load({"registry_qps": -1}, {}, NOWHERE)


def test_the_verification_of_logins_has_a_policy_and_only_one_of_them_a_list() -> None:
    policy, listed = (
        "image_pull_credentials_verification_policy",
        "preloaded_images_verification_allowlist",
    )
    given = {policy: "NeverVerifyAllowlistedImages", listed: ("r.io/*", "busybox")}
    assert load(given, {}, NOWHERE).preloaded_images_verification_allowlist == ("r.io/*", "busybox")
    for wrong, message in (
        ({policy: "Never"}, "must be one of NeverVerify, "),
        ({listed: ("r.io/*",)}, "must be NeverVerifyAllowlistedImages"),
        ({**given, listed: ("r.io/a:1",)}, "neither tag nor digest is accepted"),
    ):
        with pytest.raises(InvalidConfig, match=message):
            load(wrong, {}, NOWHERE)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"image_gc_high_threshold": 101}, "must be between 0 and 100"),
        ({"image_gc_low_threshold": -1}, "must be between 0 and 100"),
        ({"image_gc_low_threshold": 85}, "must be less than --image-gc-high-threshold 85"),
        ({"minimum_image_ttl_duration": "2"}, "invalid duration"),
        ({"image_maximum_gc_age": "-1s"}, "must not be negative"),
        ({"image_maximum_gc_age": "2m"}, "must be greater than --minimum-image-ttl-duration"),
    ],
)
def test_the_thresholds_of_image_collection_are_in_order(
    given: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidConfig, match=message):
        load(given, {}, NOWHERE)


def test_registries_are_in_the_file_that_was_given_or_in_the_data_folder(tmp_path: Path) -> None:
    given = load({"private_registry": "/a/b.yaml"}, {}, NOWHERE)
    assert given.registries_file == Path("/a/b.yaml")
    if not Path("/etc/kubelite/registries.yaml").exists():
        found = load({"data_dir": str(tmp_path)}, {}, NOWHERE).registries_file
        assert found == tmp_path / "agent" / "etc" / "registries.yaml"


@pytest.mark.parametrize(
    ("flag", "value", "reason"),
    [
        ("container-log-max-size", "10MB", "quantities must match"),
        ("container-log-max-files", "1", "must be greater than 1"),
        ("minimum-container-ttl-duration", "1 minute", "time: invalid duration"),
        ("minimum-container-ttl-duration", "-1s", "must not be less than zero"),
    ],
)
def test_what_is_kept_of_containers_must_make_sense(flag: str, value: str, reason: str) -> None:
    with pytest.raises(InvalidConfig, match=f"^cannot use --{flag} .*{reason}"):
        load({flag.replace("-", "_"): value}, {}, NOWHERE)


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


def _every_setting() -> list[tuple[str, type]]:
    return [(field, plain) for field, (plain, _) in settings().items()]


@pytest.mark.parametrize(("field", "plain"), _every_setting())
def test_a_value_of_the_wrong_type_is_named_wherever_it_was_given(
    field: str, plain: type, tmp_path: Path
) -> None:
    flag, file = f"--{field.replace('_', '-')}", tmp_path / "config.yaml"
    wrong = "many" if plain in (int, bool) else {"a": 1}
    file.write_text(f"{flag[2:]}: {wrong}\n")
    with pytest.raises(InvalidConfig, match=rf"^cannot use {file}: {flag[2:]} .*: must be "):
        load({}, {}, file)
    with pytest.raises(InvalidConfig, match=rf"^cannot use {flag} .*: must be "):
        load({field: wrong}, {}, NOWHERE)
    if plain in (int, bool):
        with pytest.raises(InvalidConfig, match=rf"^cannot use KUBELITE_{field.upper()} many: "):
            load({}, {f"KUBELITE_{field.upper()}": "many"}, NOWHERE)


@pytest.mark.parametrize(
    ("field", "plain"), [one for one in _every_setting() if one[1] not in (bool, int)]
)
@pytest.mark.parametrize("text", ["a\0b", "a\nb", "a\x1b[31m", "\x7f"])
def test_no_value_has_control_characters(field: str, plain: type, text: str) -> None:
    value = text if plain is str else (text,)
    with pytest.raises(InvalidConfig, match=r"must not have control characters") as refused:
        load({field: value}, {}, NOWHERE)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"data_dir": ""}, '--data-dir "": must not be empty'),
        ({"write_kubeconfig": ""}, '--write-kubeconfig "": must not be empty'),
        ({"cluster_domain": "Cluster"}, "--cluster-domain Cluster: must be a DNS name"),
        ({"cluster_domain": "a" * 300}, "must be a DNS name"),
        ({"tls_san": ("ümläut.example",)}, "--tls-san ümläut.example: must be a DNS name or an IP"),
        ({"tls_san": ("a_b",)}, "--tls-san a_b: must be a DNS name or an IP"),
        ({"audit_log_maxsize": 0}, "--audit-log-maxsize 0: must be 1 to 1000000"),
        ({"audit_log_maxage": -1}, "--audit-log-maxage -1: must be 0 to 36500"),
        ({"audit_log_maxbackup": 10**30}, "must be 0 to 10000"),
        ({"https_listen_port": -1}, "must be a port number"),
        ({"write_kubeconfig_mode": "-600"}, "must be octal"),
        ({"write_kubeconfig_mode": "77777"}, "must be octal"),
        ({"service_node_port_range": "²-³"}, "must be FIRST-LAST"),
        ({"service_node_port_range": "9-1"}, "must be FIRST-LAST"),
        ({"oidc_required_claim": ("nonsense",)}, "--oidc-required-claim nonsense: must be CLAIM="),
        ({"node_ip": "0.0.0.0"}, "--node-ip 0.0.0.0: must be an address of this host"),
        ({"cluster_dns": "10.43.0.1"}, "is the address of the API's Service"),
        ({"cluster_dns": "fd00::1"}, "must be within --service-cidr"),
        ({"cluster_cidr": "0.0.0.0/0"}, "must be a range of addresses"),
        ({"service_cidr": "127.0.0.0/16"}, "must be a range of addresses"),
        ({"service_cidr": "10.43.0.1/16"}, "has host bits set"),
        ({"load_balancer_pool": ("nonsense",)}, "--load-balancer-pool nonsense: "),
        ({"load_balancer_pool": ("192.0.2.9-192.0.2.1",)}, "must not end before it begins"),
        ({"load_balancer_pool": ("192.0.2.1-2001:db8::1",)}, "must be of one family"),
        ({"load_balancer_pool": ("2001:db8::/64",)}, "must be no more than 65536 addresses"),
        ({"load_balancer_pool": ("fe80::/120",)}, "must be addresses that clients"),
        ({"load_balancer_pool": ("::ffff:192.0.2.0/120",)}, "must be addresses that clients"),
        ({"load_balancer_pool": ("::1:0/120",)}, "must be addresses that clients"),
        (
            {
                "cluster_cidr": "fd00:42::/56",
                "service_cidr": "fd00:43::/112",
                "load_balancer_pool": ("fd00:42::/120",),
            },
            "must not overlap --cluster-cidr",
        ),
        ({"load_balancer_pool": ("192.0.2.1/24",)}, "has host bits set"),
        ({"load_balancer_pool": ("172.0.0.0/8",)}, "must be no more than 65536 addresses"),
        ({"load_balancer_pool": ("127.0.0.0/24",)}, "must be addresses that clients"),
        ({"load_balancer_pool": ("0.0.0.0/24",)}, "must be addresses that clients"),
        ({"load_balancer_pool": ("10.41.255.0-10.42.0.9",)}, "must not overlap --cluster-cidr"),
        (
            {"load_balancer_pool": ("192.0.2.1/32, 10.43.9.0/24",)},
            "must not overlap --service-cidr",
        ),
        (
            {"load_balancer_pool": ("192.0.2.0/24",), "disable": ("servicelb",)},
            "--disable servicelb is given too",
        ),
    ],
)
def test_values_that_no_server_can_use(flags: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidConfig) as refused:
        load(flags, {}, NOWHERE)
    assert words in str(refused.value)
    assert str(refused.value).startswith("cannot use --")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("192.0.2.240/28",), [("192.0.2.241", "192.0.2.254")]),
        (
            ("192.0.2.7/32", "192.0.2.8/31"),
            [("192.0.2.7", "192.0.2.7"), ("192.0.2.8", "192.0.2.9")],
        ),
        (
            ("192.0.2.7 - 192.0.2.9,192.0.2.20/32",),
            [("192.0.2.7", "192.0.2.9"), ("192.0.2.20",) * 2],
        ),
        (("2001:db8::/120",), [("2001:db8::1", "2001:db8::ff")]),
        (("2001:db8::9-2001:db8::a",), [("2001:db8::9", "2001:db8::a")]),
    ],
)
def test_pools_are_ranges(given: tuple[str, ...], expected: list[tuple[str, str]]) -> None:
    found = load({"load_balancer_pool": given}, {}, NOWHERE).load_balancer_ranges
    assert [tuple(str(ip_address(end)) for end in ends) for ends in found] == expected


@pytest.mark.parametrize(
    "content",
    [b"a: [\n", b"\xff\xfe", b"[" * 100_000, b"a: &a [*a]\n", b"\0", b"nodename: x\n", b"- 1\n"],
)
def test_a_broken_file_is_one_line(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(content)
    with pytest.raises(InvalidConfig, match=rf"^cannot (read|use) {file}: ") as refused:
        load({}, {}, file)
    assert len(str(refused.value).splitlines()) == 1


def test_without_a_home_the_folder_has_to_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("os.geteuid", lambda: 4242)
    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(InvalidConfig, match=r"set HOME, or give --data-dir"):
        load({}, {}, NOWHERE)
    given = {"data_dir": "/d", "write_kubeconfig": "/k"}
    assert load(given, {}, NOWHERE).data_dir == "/d"
    assert help_of("data_dir") == "Folder that holds all state"


def test_help_tells_the_defaults() -> None:
    assert help_of("https_listen_port") == "Port of the API server [default: 6443]"
    assert help_of("node_ip").endswith("(default: that of the default route)")
    assert help_of("debug") == "Log more"
    assert help_of("tls_san").endswith("certificate")
    for field, (plain, setting) in settings().items():
        default = getattr(Config(), field)
        is_said = str(default) in help_of(field) or "(default:" in setting.help
        assert is_said or default in ("", (), False), field
        assert plain is bool or "[default: ]" not in help_of(field)


def test_components_are_disabled_as_k3s_does_it() -> None:
    assert load({"disable": ("local-storage",)}, {}, NOWHERE).disabled == {"local-storage"}
    assert load({}, {"KUBELITE_DISABLE": "local-storage,"}, NOWHERE).disabled == {"local-storage"}
    assert load({}, {}, NOWHERE).disabled == frozenset()
    with pytest.raises(InvalidConfig, match=r"^cannot use --disable linkerd: must be one of"):
        load({"disable": ("local-storage,linkerd",)}, {}, NOWHERE)


def test_what_k3s_has_in_place_of_a_component_names_it() -> None:
    assert load({"disable": ("traefik",)}, {}, NOWHERE).disabled == {"ingress"}


def test_nodes_are_told_what_of_their_network_is_left_to_others() -> None:
    assert load({}, {}, NOWHERE).cluster.disabled == ()
    flags = {"disable": ("coredns",), "disable_kube_proxy": True, "disable_network_policy": True}
    cluster = load(flags, {}, NOWHERE).cluster
    assert cluster.disabled == ("coredns", "kube-proxy", "network-policy")
    assert (cluster.dns_addresses, cluster.served_addresses) == (("10.43.0.10",), ())


def test_the_folder_of_volumes_is_in_the_data_folder_unless_it_is_named() -> None:
    assert str(load({"data_dir": "/srv/k"}, {}, NOWHERE).local_storage_dir) == "/srv/k/storage"
    named = load({"default_local_storage_path": "/mnt/../disk/"}, {}, NOWHERE)
    assert str(named.local_storage_dir) == "/disk"
    for path in ("/", "/" + "a" * 1024, "/a\u2028b"):
        with pytest.raises(InvalidConfig, match=r"^cannot use --default-local-storage-path"):
            load({"default_local_storage_path": path}, {}, NOWHERE)
