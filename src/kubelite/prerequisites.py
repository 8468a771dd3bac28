"""What a server and an agent check before they start: rights, folders, files and addresses of the host.

A failure is one line for the user.
"""

import logging
import os
import resource
from ipaddress import ip_network
from pathlib import Path

from kubelite.api.auth.secret_files import read_with_exposure
from kubelite.config import ClusterSettings, NodeConfig, node_name_problem
from kubelite.doctor import rights
from kubelite.doctor.resources import FILES_MIN
from kubelite.net.families import family_of
from kubelite.net.host_addresses import HostAddresses, link_index

log = logging.getLogger(__name__)


class CannotStart(Exception):
    """The server cannot start; the message is one line for the user."""


class ServerFailed(Exception):
    """A running server failed; the message is one line for the user, and a restart may help."""


def require_node_name(config: NodeConfig) -> None:
    """Raise CannotStart if the node's name, which defaults to the host's, is invalid."""
    if problem := node_name_problem(config.name_of_node):
        raise CannotStart(
            f"cannot call the node {config.name_of_node}, as the host is called: "
            f"a node's name {problem}; give another with --node-name"
        )


def require_network_rights(hint: str = "") -> None:
    """Raise CannotStart, whose message ends with `hint`, unless this process has CAP_NET_ADMIN."""
    if rights.lacks_network(rights.gather()):
        raise CannotStart(f"cannot set up pod networking: needs root (CAP_NET_ADMIN){hint}")


def allow_many_files() -> None:
    """Raise the soft limit of open files to the hard limit, since a thousand watches exceed the usual 1024.

    Raises CannotStart if the limit is below FILES_MIN.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # the kernel's own limit is lower
        log.warning(
            "cannot raise the limit of open files", extra={"limit": soft, "reason": str(error)}
        )
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FILES_MIN:
        raise CannotStart(
            f"cannot run with {soft} open files: at least {FILES_MIN} are needed; "
            "raise the limit (ulimit -n, LimitNOFILE=)"
        )


def prepare_folder(folder: Path) -> None:
    """Create the data folder with mode 0700. Raises CannotStart."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CannotStart(
            f"cannot use data folder {folder}: {reason_of(error)}; see --data-dir"
        ) from error
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise CannotStart(f"cannot use data folder {folder}: it is not writable; see --data-dir")


def reason_of(error: Exception) -> str:
    """Return the text of an error in one line, without the path, which the message names anyway."""
    if isinstance(error, FileExistsError):
        return "it is no folder"  # mkdir raises it if the path is a file
    if isinstance(error, UnicodeDecodeError):
        return "it is not text in UTF-8"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())


def secret_text(path: Path) -> str:
    """Read a file of secrets. Raises OSError, UnicodeDecodeError, and CannotStart if other users can read it.

    Read permission for its group may be intended, so it is only a warning.
    """
    content, exposure = read_with_exposure(path)
    who = exposure.readers()
    if who == "its group":
        log.warning("the group of a file of secrets may read it", extra={"path": str(path)})
    elif who:
        raise CannotStart(
            f"cannot use {path}: {who} may read or change it (its mode is {exposure.mode:04o}, 0600 will do)"
        )
    return content.decode()


def host_addresses(config: NodeConfig, cluster: ClusterSettings) -> HostAddresses:
    """Subscribe to the host's addresses, those of the cluster excluded. Raises CannotStart."""
    ranges = [ip_network(text) for text in (*cluster.cluster_cidrs, *cluster.service_cidrs)]
    if config.interface and not link_index(config.interface):
        raise CannotStart(
            f"cannot use --interface {config.interface}: there is no such interface; ip link lists those there are"
        )
    primary, *secondary = config.node_ips or ("",)
    families = tuple(map(family_of, cluster.cluster_cidrs))
    try:
        return HostAddresses(
            besides=ranges,
            fixed=primary,
            interface=config.interface,
            families=families,
            fixed_secondary="".join(secondary),
        )
    except OSError as error:
        raise CannotStart(
            f"cannot follow the host's addresses: {error.strerror}; kubelite doctor may tell why"
        ) from error


def in_url(address: str) -> str:
    """Return an address as the host of a URL: an IPv6 address in brackets."""
    return f"[{address}]" if ":" in address else address
