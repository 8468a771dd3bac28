"""The settings of every node, of a server's as well as of an agent's, and the places that follow from them."""

import hashlib
import os
import socket
from pathlib import Path
from typing import Annotated

import msgspec

from kubelite import log
from kubelite.ingress_config import IngressConfig
from kubelite.settings import InvalidConfig, Setting

CONFIG_FILE = Path("/etc/kubelite/config.yaml")
DATA_DIR = "/var/lib/kubelite"
KUBELET_ROOT = "/var/lib/kubelet"  # where drivers' manifests expect the kubelet


def home(flag: str) -> Path:
    """Return the home folder of this user, which is the default place of `flag`. Raises InvalidConfig."""
    try:
        return Path.home()
    except RuntimeError:
        raise InvalidConfig(f"cannot find the home folder: set HOME, or give {flag}") from None


def _default_data_dir() -> str:
    return DATA_DIR if os.geteuid() == 0 else str(home("--data-dir") / ".kubelite")


class NodeConfig(IngressConfig, frozen=True, kw_only=True):
    """The settings of every node, with their defaults."""

    data_dir: Annotated[str, Setting("Folder that holds all state", "DIR", is_filled=True)] = (
        msgspec.field(default_factory=_default_data_dir)
    )
    node_name: Annotated[str, Setting("Name of this node (default: the host's name)", "NAME")] = ""
    node_label: Annotated[
        tuple[str, ...],
        Setting("Label that this node is given when it first registers", "KEY=VALUE"),
    ] = ()
    node_taint: Annotated[
        tuple[str, ...],
        Setting("Taint that this node is given when it first registers", "KEY=VALUE:EFFECT"),
    ] = ()
    kubelet_port: Annotated[
        int, Setting("Port of the node's own HTTPS endpoint; 0 picks a free one", "PORT")
    ] = 10250
    container_log_dir: Annotated[
        str,
        Setting("Folder in which log collectors find pods/ and containers/", "DIR", is_filled=True),
    ] = "/var/log"
    default_local_storage_path: Annotated[
        str,
        Setting(
            "Folder of the volumes that this node keeps for the StorageClass local-path "
            "(default: storage in the data folder)",
            "DIR",
        ),
    ] = ""
    root_dir: Annotated[
        str,
        Setting(
            "Path at which CSI drivers find the kubelet's folders, a link to the data folder "
            "(default: /var/lib/kubelet if the data folder is the default one)",
            "DIR",
        ),
    ] = ""
    allowed_unsafe_sysctls: Annotated[
        tuple[str, ...],
        Setting(
            "Sysctl, or prefix and *, that pods of this node may set beyond the safe ones", "NAME"
        ),
    ] = ()
    debug: Annotated[bool, Setting("Log more")] = False
    log_format: Annotated[
        str, Setting("Log lines for people or for programs", "text|json", is_filled=True)
    ] = log.TEXT

    @property
    def registries_file(self) -> Path:
        """The file of registries; it need not exist."""
        if self.private_registry:
            return Path(self.private_registry)
        system = CONFIG_FILE.with_name("registries.yaml")
        return system if system.exists() else self.agent_dir / "etc" / "registries.yaml"

    @property
    def cni_connections(self) -> Path:
        """The folder in which the connections of pods by CNI plugins are noted."""
        return self.agent_dir / "cni" / "connections"

    @property
    def run_dir(self) -> Path:
        """The folder of sockets and process ids: one per data folder, and empty after a boot."""
        run = Path("/run/kubelite")
        # `data/` and `data` are one folder, and have one engine.
        folder = os.path.abspath(self.data_dir)  # noqa: PTH100 - `resolve` would read the disk
        if folder == DATA_DIR:
            return run
        return run / hashlib.sha256(folder.encode()).hexdigest()[:12]

    @property
    def store_dir(self) -> Path:
        """The folder of the store; only a server makes it."""
        return Path(self.data_dir) / "db"

    @property
    def agent_dir(self) -> Path:
        """The folder of the node's own state."""
        return Path(self.data_dir) / "agent"

    @property
    def kubelet_root(self) -> Path:
        """The path at which plugins find the kubelet's folders; `agent_dir` where no link is made."""
        if self.root_dir:
            return Path(os.path.abspath(self.root_dir))  # noqa: PTH100 - `resolve` would follow the link
        # Nodes that share a host, as in tests, must not quarrel over one path.
        return Path(KUBELET_ROOT) if self.data_dir == DATA_DIR else self.agent_dir

    @property
    def local_storage_dir(self) -> Path:
        """The folder of the volumes that this node keeps, as an absolute path."""
        given = self.default_local_storage_path or Path(self.data_dir) / "storage"
        return Path(os.path.abspath(given))  # noqa: PTH100 - `resolve` would read the disk

    @property
    def manifest_path(self) -> Path:
        """The folder of the static pods, or the file of one, as an absolute path."""
        given = self.pod_manifest_path or self.agent_dir / "pod-manifests"
        return Path(os.path.abspath(given))  # noqa: PTH100 - `resolve` would read the disk

    @property
    def name_of_node(self) -> str:
        """The name of this node: the configured one, else the host name in lower case."""
        return self.node_name or socket.gethostname().lower()
