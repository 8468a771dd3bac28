"""One frozen configuration from flags, KUBELITE_* environment variables and YAML files.

Flags win over the environment, the environment over `/etc/kubelite/config.yaml.d/*.yaml` (later names win), those over
`/etc/kubelite/config.yaml`; a key `node-label+` adds to the list of the files before it. Every setting has one
name: `--data-dir`, `KUBELITE_DATA_DIR` and `data-dir:` are the same.
Names are spelt as k3s spells them where it has them.

`Config` is a server's, `AgentConfig` an agent's; what both need because they are nodes is in `NodeConfig`. One file and
one environment may serve both: what only the other one knows is ignored there, and what neither knows is refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints
from urllib.parse import SplitResult, urlsplit

import msgspec

from kubelite.address_pool import pool_ranges
from kubelite.engine_config import check_engine
from kubelite.image_config import check_images
from kubelite.ingress_config import check_ingress
from kubelite.network_config import (
    DNS,
    KUBE_PROXY,
    NETWORK_POLICY,
    check_address,
    check_cluster_network,
    check_expected,
    check_load_balancer_pool,
    check_node_network,
    dns_addresses,
    is_address,
    networks_of,
    node_prefixes,
)
from kubelite.network_config import ClusterSettings as ClusterSettings  # noqa: PLC0414 - exported
from kubelite.node_config import CONFIG_FILE, home
from kubelite.node_config import NodeConfig as NodeConfig  # noqa: PLC0414 - exported
from kubelite.pod_config import check_pods
from kubelite.settings import InvalidConfig as InvalidConfig  # noqa: PLC0414 - exported
from kubelite.settings import Setting
from kubelite.settings import unusable as _unusable
from kubelite.snapshot_config import SnapshotConfig, check_snapshots

AGENT_PORT = 6443  # of a server to join whose URL names none
# A node's common name in certificates is system:node:NAME, and X.509 allows 64 characters, so 52 are left.
NODE_NAME_LENGTH_MAX = 52
DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")

DOMAIN_LENGTH_MAX = 253

LOCAL_STORAGE, METRICS_SERVER, SERVICE_LB = "local-storage", "metrics-server", "servicelb"
INGRESS = "ingress"
# What --disable may name, spelt as in k3s.
COMPONENTS = frozenset({DNS, INGRESS, LOCAL_STORAGE, METRICS_SERVER, SERVICE_LB})
ALIASES = {"traefik": INGRESS}  # what k3s has in its place
STORAGE_PATH_LENGTH_MAX = 1024


def _default_kubeconfig() -> str:
    if os.geteuid() == 0:
        return "/etc/kubelite/kubelite.yaml"
    return str(home("--write-kubeconfig") / ".kubelite" / "kubelite.yaml")


class Config(SnapshotConfig, frozen=True, kw_only=True):
    """All settings of a server, with their defaults."""

    https_listen_port: Annotated[int, Setting("Port of the API server", "PORT")] = 6443
    bind_address: Annotated[
        str, Setting("Address the API server listens on", "IP", is_filled=True)
    ] = "0.0.0.0"  # noqa: S104 - clients of other machines are to reach it
    write_kubeconfig: Annotated[
        str, Setting("File to write the administrator's kubeconfig to", "FILE", is_filled=True)
    ] = msgspec.field(default_factory=_default_kubeconfig)
    write_kubeconfig_mode: Annotated[str, Setting("Mode of that file, octal", "MODE")] = "0600"
    tls_san: Annotated[
        tuple[str, ...], Setting("Further name or address of the API server's certificate", "NAME")
    ] = ()
    cluster_cidr: Annotated[
        str, Setting("Range of pod addresses, or one of each family with a comma", "CIDR")
    ] = "10.42.0.0/16"
    node_cidr_mask_size: Annotated[
        int, Setting("Prefix length of each node's part of the only range of pods", "BITS")
    ] = 24
    node_cidr_mask_size_ipv4: Annotated[
        int, Setting("Prefix length of each node's part of the pods' IPv4 addresses", "BITS")
    ] = 24
    node_cidr_mask_size_ipv6: Annotated[
        int, Setting("Prefix length of each node's part of the pods' IPv6 addresses", "BITS")
    ] = 64
    service_cidr: Annotated[
        str,
        Setting("Range of service addresses, or one of each family of --cluster-cidr", "CIDR"),
    ] = "10.43.0.0/16"
    service_node_port_range: Annotated[str, Setting("Range of node ports", "FIRST-LAST")] = (
        "30000-32767"
    )
    cluster_dns: Annotated[
        str,
        Setting(
            "Address of cluster DNS, or one of each family (default: the tenth of the service range)",
            "IP",
        ),
    ] = ""
    cluster_domain: Annotated[str, Setting("Domain of the cluster", "DOMAIN", is_filled=True)] = (
        "cluster.local"
    )
    disable: Annotated[
        tuple[str, ...],
        Setting(
            "Built-in component not to use, and to remove: coredns, ingress (or traefik), local-storage, "
            "metrics-server or servicelb",
            "NAME",
        ),
    ] = ()
    load_balancer_pool: Annotated[
        tuple[str, ...],
        Setting(
            "Addresses of either family for Services of type LoadBalancer, 192.0.2.240/28 or "
            "192.0.2.10-192.0.2.20, on the link of the nodes and used by nobody "
            "else (default: the nodes' own addresses)",
            "CIDR|RANGE",
        ),
    ] = ()
    scheduler_load_aware: Annotated[
        bool, Setting("Place pods by what nodes really use as well, not only by requests")
    ] = False
    disable_agent: Annotated[bool, Setting("Run the control plane only")] = False
    disable_kube_proxy: Annotated[
        bool, Setting("Leave the addresses of Services to another program, on every node")
    ] = False
    disable_network_policy: Annotated[
        bool, Setting("Leave network policies to another program, on every node")
    ] = False
    disable_scheduler: Annotated[bool, Setting("Leave pods to another scheduler")] = False
    enable_admission_plugins: Annotated[
        tuple[str, ...], Setting("Admission plugin to use beside the default ones", "NAME")
    ] = ()
    disable_admission_plugins: Annotated[
        tuple[str, ...], Setting("Admission plugin not to use", "NAME")
    ] = ()
    secrets_encryption: Annotated[bool, Setting("Encrypt Secrets on disk")] = False
    token_auth_file: Annotated[str, Setting("File of static tokens", "FILE")] = ""
    requestheader_client_ca_file: Annotated[
        str, Setting("Authorities of proxies that may name callers in X-Remote-* headers", "FILE")
    ] = ""
    requestheader_allowed_names: Annotated[
        tuple[str, ...], Setting("Name of such a proxy (default: any of those authorities)", "NAME")
    ] = ()
    oidc_issuer_url: Annotated[str, Setting("OpenID Connect issuer whose tokens count", "URL")] = ""
    oidc_client_id: Annotated[str, Setting("Audience those tokens must name", "ID")] = ""
    oidc_username_claim: Annotated[str, Setting("Claim with the user's name", "CLAIM")] = "sub"
    oidc_username_prefix: Annotated[
        str, Setting("Put before that name (default: the issuer; - for nothing)", "PREFIX")
    ] = ""
    oidc_groups_claim: Annotated[str, Setting("Claim with the user's groups", "CLAIM")] = ""
    oidc_groups_prefix: Annotated[str, Setting("Put before each group", "PREFIX")] = ""
    oidc_required_claim: Annotated[
        tuple[str, ...], Setting("Claim that must have a value", "CLAIM=VALUE")
    ] = ()
    oidc_signing_algs: Annotated[str, Setting("Accepted algorithms, with commas", "NAMES")] = (
        "RS256"
    )
    oidc_ca_file: Annotated[str, Setting("Authorities of the issuer's server", "FILE")] = ""
    audit_policy_file: Annotated[str, Setting("Policy that says what is audited", "FILE")] = ""
    audit_log_path: Annotated[
        str, Setting("Audit log (default: audit.log in the data folder)", "FILE")
    ] = ""
    audit_log_maxsize: Annotated[int, Setting("Size of the audit log at rotation", "MB")] = 100
    audit_log_maxage: Annotated[int, Setting("Days that rotated audit logs are kept", "DAYS")] = 30
    audit_log_maxbackup: Annotated[int, Setting("Number of rotated audit logs", "COUNT")] = 10
    kubelet_bind_address: Annotated[
        str,
        Setting("Address the node's own endpoint listens on (default: --bind-address)", "IP"),
    ] = ""

    @property
    def disabled(self) -> frozenset[str]:
        """The components that are not deployed; `disable` may have several in one value, with commas."""
        names = (name.strip() for text in self.disable for name in text.split(","))
        return frozenset(ALIASES.get(name, name) for name in names if name)

    @property
    def load_balancer_ranges(self) -> tuple[tuple[int, int], ...]:
        """The ranges of `load_balancer_pool` as numbers, both ends included. Raises ValueError."""
        return pool_ranges(self.load_balancer_pool)

    @property
    def secrets_key_file(self) -> Path:
        """The file of the keys that encrypt Secrets."""
        return Path(self.data_dir) / "secrets.key"

    @property
    def audit_log_file(self) -> Path:
        """The file of the audit log."""
        return (
            Path(self.audit_log_path) if self.audit_log_path else Path(self.data_dir) / "audit.log"
        )

    @property
    def manifests_dir(self) -> Path:
        """The folder of the files whose objects are applied."""
        return Path(self.data_dir) / "server" / "manifests"

    @property
    def node_ports(self) -> range:
        """The node port range, both ends included."""
        first, last = self.service_node_port_range.split("-")
        return range(int(first), int(last) + 1)

    @property
    def tls_names(self) -> tuple[str, ...]:
        """The DNS names in `tls_san`."""
        return tuple(name for name in self.tls_san if not is_address(name))

    @property
    def tls_addresses(self) -> tuple[str, ...]:
        """The IP addresses in `tls_san`."""
        return tuple(name for name in self.tls_san if is_address(name))

    @property
    def cluster_cidrs(self) -> tuple[str, ...]:
        """The ranges of pods, the primary one first."""
        return tuple(map(str, networks_of(self.cluster_cidr)))

    @property
    def service_cidrs(self) -> tuple[str, ...]:
        """The ranges of Services, the primary one first."""
        return tuple(map(str, networks_of(self.service_cidr)))

    @property
    def node_prefixes(self) -> Mapping[int, int]:
        """The prefix length of a node's part of the pods' addresses, by version of the family."""
        return node_prefixes(self)

    @property
    def api_address(self) -> str:
        """The address of the service `kubernetes`: the first of the primary service range."""
        return str(networks_of(self.service_cidr)[0][1])

    @property
    def dns_address(self) -> str:
        """The primary address of cluster DNS."""
        return self.dns_addresses[0]

    @property
    def dns_addresses(self) -> tuple[str, ...]:
        """The addresses of cluster DNS by family: the configured one, else the service range at offset 10."""
        return dns_addresses(self.service_cidr, self.cluster_dns)

    @property
    def kubelet_address(self) -> str:
        """The address the node's own endpoint listens on."""
        return self.kubelet_bind_address or self.bind_address

    @property
    def cluster(self) -> ClusterSettings:
        """The settings that agents of this server are given."""
        primary, *secondary = self.dns_addresses
        switches = (
            (DNS, DNS in self.disabled),
            (KUBE_PROXY, self.disable_kube_proxy),
            (NETWORK_POLICY, self.disable_network_policy),
        )
        return ClusterSettings(
            ",".join(self.cluster_cidrs),
            ",".join(self.service_cidrs),
            primary,
            self.cluster_domain,
            "".join(secondary),
            tuple(name for name, is_off in switches if is_off),
        )


class AgentConfig(NodeConfig, frozen=True, kw_only=True):
    """All settings of a joining node, with their defaults."""

    join: Annotated[
        tuple[str, ...],
        Setting(
            "Server to join; given several times, the first that answers (default: as last time)",
            "https://SERVER:6443",
        ),
    ] = ()
    token: Annotated[
        str,
        Setting(
            "Join token; other users of this machine can see it in the list of processes, so prefer "
            "--token-file or KUBELITE_TOKEN",
            "TOKEN",
            is_secret=True,
        ),
    ] = ""
    token_file: Annotated[str, Setting("File of the join token", "FILE")] = ""
    ca_file: Annotated[
        str, Setting("Certificates to trust a server by, for a token without their hash", "FILE")
    ] = ""
    kubelet_bind_address: Annotated[
        str, Setting("Address the node's own endpoint listens on", "IP", is_filled=True)
    ] = "127.0.0.1"
    cluster_cidr: Annotated[
        str, Setting("Refuse a cluster with another range of pod addresses", "CIDR")
    ] = ""
    service_cidr: Annotated[
        str, Setting("Refuse a cluster with another range of service addresses", "CIDR")
    ] = ""
    cluster_dns: Annotated[
        str, Setting("Refuse a cluster with another address of cluster DNS", "IP")
    ] = ""
    cluster_domain: Annotated[str, Setting("Refuse a cluster with another domain", "DOMAIN")] = ""

    @property
    def kubelet_address(self) -> str:
        """The address the node's own endpoint listens on."""
        return self.kubelet_bind_address

    @property
    def servers(self) -> tuple[str, ...]:
        """The URLs in `join`, each with its port and without a path."""
        return tuple(_server_url(text) for text in self.join)


AnyConfig = TypeVar("AnyConfig", Config, AgentConfig)

_KINDS = {
    bool: "true or false",
    int: "a whole number",
    str: "a text, in quotes if it looks like a number",
}
_NUMBERS = {
    "audit_log_maxsize": 1_000_000,
    "audit_log_maxage": 36_500,
    "audit_log_maxbackup": 10_000,
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PORT_RANGE = re.compile(r"([0-9]{1,5})-([0-9]{1,5})")
_MODE = re.compile(r"(0o?)?[0-7]{1,3}")


@cache
def settings(of: type[NodeConfig] = Config) -> Mapping[str, tuple[type, Setting]]:
    """Return the field name, plain type and description of each setting of a server or an agent."""
    found = {}
    for field, hint in get_type_hints(of, include_extras=True).items():
        plain, setting = get_args(hint)
        found[field] = (plain, setting)
    return found


def is_list(plain: type) -> bool:
    """Return whether a setting of this type takes several values."""
    return plain not in (str, int, bool)


def help_of(field: str, of: type[NodeConfig] = Config) -> str:
    """Return the help text of a setting, with its default unless that is empty or already mentioned."""
    plain, setting = settings(of)[field]
    if plain is bool or is_list(plain) or "(default:" in setting.help:
        return setting.help
    try:
        default = str(_default(field, of))
    except InvalidConfig:  # this host has no default
        default = ""
    return f"{setting.help} [default: {default}]" if default else setting.help


@cache
def _fields(of: type[NodeConfig]) -> Mapping[str, msgspec.structs.FieldInfo]:
    """Return the fields of a configuration by name; finding them evaluates every annotation, so it is done once."""
    return {one.name: one for one in msgspec.structs.fields(of)}


def _default(field: str, of: type[NodeConfig]) -> Any:
    """Return the default of a setting. Raises InvalidConfig if this host has none."""
    found = _fields(of)[field]
    if found.default_factory is not msgspec.NODEFAULT:
        return found.default_factory()
    return found.default


def load(
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    file: Path = CONFIG_FILE,
) -> Config:
    """Merge file, environment and flags (None: not given) into a server's Config; raises InvalidConfig."""
    return _load(Config, flags, environment, file)


def load_agent(
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    file: Path = CONFIG_FILE,
) -> AgentConfig:
    """Merge file, environment and flags (None: not given) into an agent's configuration; raises InvalidConfig."""
    return _load(AgentConfig, flags, environment, file)


def _load(
    of: type[AnyConfig], flags: Mapping[str, Any], environment: Mapping[str, str], file: Path
) -> AnyConfig:
    values: dict[str, Any] = {}
    for path in _files(file):
        values = _from_file(path, of, values)
    values.update(_from_environment(environment, of))
    for field, value in flags.items():
        if value not in (None, ()):
            values[field] = _converted(field, value, f"--{field.replace('_', '-')}", of)
    config = of(**values)
    _validate(config)
    return config


def _converted(field: str, value: Any, where: str, of: type[NodeConfig]) -> Any:
    """Convert a value to the type of its setting. Raises InvalidConfig, which names `where` it was given."""
    plain, setting = settings(of)[field]
    shown = "***" if setting.is_secret else value
    try:
        converted: Any = msgspec.convert(value, plain, strict=False)
    except msgspec.ValidationError:
        kind = _KINDS.get(plain, "a text or a list of texts")
        raise InvalidConfig(f"cannot use {where} {shown}: must be {kind}") from None
    texts = converted if is_list(plain) else (converted,)
    if any(isinstance(text, str) and _CONTROL.search(text) for text in texts):
        raise InvalidConfig(f"cannot use {where} {shown!r}: must not have control characters")
    return converted


def _files(file: Path) -> Sequence[Path]:
    more = file.with_name(file.name + ".d")
    try:
        return [
            *([file] if file.is_file() else []),
            *(sorted(more.glob("*.yaml")) if more.is_dir() else []),
        ]
    except OSError as error:
        raise InvalidConfig(f"cannot read {error.filename or file}: {error.strerror}") from error


def _from_file(path: Path, of: type[NodeConfig], before: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values `before`, changed by a file; a key that ends in + adds to a list, as in k3s."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text()) or {}
    except RecursionError as error:
        raise InvalidConfig(f"cannot read {path}: it is nested too deeply") from error
    except OSError as error:
        raise InvalidConfig(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise InvalidConfig(f"cannot read {path}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise InvalidConfig(f"cannot use {path}: it must hold keys and values")
    values = dict(before)
    for key, value in content.items():
        field = str(key).removesuffix("+").replace("-", "_")
        if field not in _KNOWN:
            raise InvalidConfig(f'cannot use {path}: unknown key "{key}"')
        if field not in of.__struct_fields__:
            continue
        several = [value] if _is_list(field, of) and isinstance(value, str) else value
        converted = _converted(field, several, f"{path}: {key}", of)
        if str(key).endswith("+"):
            if not _is_list(field, of):
                raise InvalidConfig(f"cannot use {path}: {key}: only a list can be added to")
            converted = (*values.get(field, ()), *converted)
        values[field] = converted
    return values


def _from_environment(environment: Mapping[str, str], of: type[NodeConfig]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in environment.items():
        if not name.startswith("KUBELITE_"):
            continue
        field = name.removeprefix("KUBELITE_").lower()
        if field not in _KNOWN:
            raise InvalidConfig(f"cannot use environment: unknown variable {name}")
        if field in of.__struct_fields__:
            several = value.split(",") if _is_list(field, of) else value
            values[field] = _converted(field, several, name, of)
    return values


_KNOWN = frozenset((*Config.__struct_fields__, *AgentConfig.__struct_fields__))


def _is_list(field: str, of: type[NodeConfig]) -> bool:
    plain, _ = settings(of)[field]
    return is_list(plain)


def _validate(config: Config | AgentConfig) -> None:
    _check_node(config)
    match config:
        case Config():
            for check in (
                _check_numbers,
                _check_texts,
                check_cluster_network,
                _check_names,
                check_snapshots,
            ):
                check(config)
            check_load_balancer_pool(
                config.load_balancer_pool, config, is_disabled=SERVICE_LB in config.disabled
            )
            for field in ("enable_admission_plugins", "disable_admission_plugins"):
                _plugins(field, getattr(config, field))
        case AgentConfig():
            _check_agent(config)


def _check_node(config: Config | AgentConfig) -> None:
    """Check what servers and agents have in common. Raises InvalidConfig."""
    for field, (_, setting) in settings(type(config)).items():
        if setting.is_filled and not getattr(config, field):
            raise _unusable(field, '""', "must not be empty")
    _check_port("kubelet_port", config.kubelet_port)
    _check_port("healthz_port", config.healthz_port)
    if config.node_name and (problem := node_name_problem(config.node_name)):
        raise _unusable("node_name", config.node_name, problem)
    check_node_network(config)
    for field in ("kubelet_bind_address", "healthz_bind_address"):
        check_address(field, getattr(config, field))
    path = str(config.local_storage_dir)
    if not path.isprintable() or len(path.encode()) > STORAGE_PATH_LENGTH_MAX or path == "/":
        reason = f"must be a folder other than /, of no more than {STORAGE_PATH_LENGTH_MAX} bytes"
        raise _unusable("default_local_storage_path", repr(path), reason)
    check_engine(config)
    check_ingress(config)
    if config.root_dir and (not Path(config.root_dir).is_absolute() or config.root_dir == "/"):
        raise _unusable("root_dir", config.root_dir, "must be an absolute path other than /")
    _labels_and_taints(config)
    _sysctls(config.allowed_unsafe_sysctls)
    check_pods(config)
    check_images(config)


def _labels_and_taints(config: NodeConfig) -> None:
    if not (config.node_label or config.node_taint):
        return
    from kubelite.api.machinery.node_flags import FlagInvalid, parse_labels, parse_taints

    try:
        parse_labels(config.node_label)
    except FlagInvalid as error:
        raise _unusable("node_label", ",".join(config.node_label), str(error)) from None
    try:
        parse_taints(config.node_taint)
    except FlagInvalid as error:
        raise _unusable("node_taint", ",".join(config.node_taint), str(error)) from None


def _check_agent(config: AgentConfig) -> None:
    for text in config.join:
        _server_url(text)
    if config.token and config.token_file:
        raise InvalidConfig(
            "cannot use --token-file: a token is given too; give one of --token (KUBELITE_TOKEN) and "
            "--token-file (KUBELITE_TOKEN_FILE)"
        )
    check_expected(config.cluster_cidr, config.service_cidr, config.cluster_dns)


def _server_url(text: str) -> str:
    """Return the URL of a server as ``https://HOST:PORT``. Raises InvalidConfig."""
    try:
        url = urlsplit(text)
        port = url.port or AGENT_PORT
    except ValueError as error:
        raise _unusable("join", text, str(error)) from None
    if problem := _url_problem(url):
        raise _unusable("join", text, problem)
    host = str(url.hostname)
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _url_problem(url: SplitResult) -> str:
    if url.scheme != "https" or not url.hostname:
        return "must be the URL of a server, https://SERVER:6443"
    if url.username is not None or url.path.strip("/") or url.query or url.fragment:
        return "must have nothing but a host and a port, https://SERVER:6443"
    if not (is_address(url.hostname) or _is_domain(url.hostname)):
        return "must have a DNS name or an IP address as host"
    return ""


def _check_port(field: str, value: int) -> None:
    if not 0 <= value <= 65535:
        raise _unusable(field, value, "must be a port number")


def _check_numbers(config: Config) -> None:
    _check_port("https_listen_port", config.https_listen_port)
    for field, most in _NUMBERS.items():
        least = 1 if field == "audit_log_maxsize" else 0
        if not least <= getattr(config, field) <= most:
            raise _unusable(field, getattr(config, field), f"must be {least} to {most}")
    matching = _PORT_RANGE.fullmatch(config.service_node_port_range)
    if matching is None or not 0 < int(matching[1]) <= int(matching[2]) <= 65535:
        raise _unusable(
            "service_node_port_range", config.service_node_port_range, "must be FIRST-LAST"
        )


def _check_texts(config: Config) -> None:
    if _MODE.fullmatch(config.write_kubeconfig_mode) is None:
        raise _unusable("write_kubeconfig_mode", config.write_kubeconfig_mode, "must be octal")


def _check_names(config: Config) -> None:
    if not _is_domain(config.cluster_domain):
        raise _unusable("cluster_domain", config.cluster_domain, "must be a DNS name")
    for component in sorted(config.disabled - COMPONENTS):
        known = ", ".join(sorted({*COMPONENTS, *ALIASES}))
        raise _unusable("disable", component, f"must be one of {known}")
    for name in config.tls_names:
        if not _is_domain(name.removeprefix("*.").lower()):
            raise _unusable("tls_san", name, "must be a DNS name or an IP address")
    for claim in config.oidc_required_claim:
        name, equals, _ = claim.partition("=")
        if not (name and equals):
            raise _unusable("oidc_required_claim", claim, "must be CLAIM=VALUE")


def _is_domain(name: str) -> bool:
    return len(name) <= DOMAIN_LENGTH_MAX and DNS_SUBDOMAIN.fullmatch(name) is not None


def node_name_problem(name: str) -> str:
    """Return why a node cannot have this name; "" if it can."""
    if len(name) > NODE_NAME_LENGTH_MAX:
        return f"must be no more than {NODE_NAME_LENGTH_MAX} characters"
    if DNS_SUBDOMAIN.fullmatch(name) is None:
        return (
            "must consist of lower case alphanumeric characters, '-' or '.', "
            "and must start and end with an alphanumeric character"
        )
    return ""


def _plugins(field: str, names: Sequence[str]) -> None:
    """Check names of admission plugins. Raises InvalidConfig."""
    if not names:
        return
    from kubelite.api.registry.admission.builtin import SWITCHABLE

    for name in names:
        if name not in SWITCHABLE:
            known = ", ".join(sorted(SWITCHABLE))
            raise _unusable(field, name, f"must be one of {known}")


def _sysctls(patterns: Sequence[str]) -> None:
    if not patterns:
        return
    from kubelite.node.sysctls import InvalidSysctlPattern, allow_list

    for pattern in patterns:
        try:
            allow_list("", (pattern,))
        except InvalidSysctlPattern as error:
            raise _unusable("allowed_unsafe_sysctls", pattern, str(error)) from None
