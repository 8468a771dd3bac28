"""The file of a cluster: what `kubelite cluster create` takes, and further settings of its server and its agents.

agents: 2
simulate-nodes: 100
simulation-file: simulation.yaml
images: [app.tar]
ports: [8080:80@ingress]
wait: 60s
server: {disable: [metrics-server]}    # as in a configuration file of a server
agent: {node-label: [tier=back]}
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from kubelite.api.machinery.times import parse_duration
from kubelite.clusters.plan import PlanFailed

FILE_BYTES_MAX = 1 << 20
# Of the plan; a file that said otherwise would make a cluster that no command finds.
OWN = frozenset({"data-dir", "write-kubeconfig", "https-listen-port", "node-name", "node-ip", "join", "token",
                 "token-file", "disable-agent", "bind-address", "simulate-nodes", "simulation-file",
                 "container-log-dir"})  # fmt: skip


class ClusterFile(Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """The content of the file; paths in it are relative to its folder."""

    agents: Annotated[int, Meta(ge=0)] | None = None
    simulate_nodes: Annotated[int, Meta(ge=0)] = 0
    simulation_file: str = ""
    registry_config: str = ""
    images: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    wait: str = ""
    server: Mapping[str, Any] = {}
    agent: Mapping[str, Any] = {}


def read_cluster_file(path: Path) -> ClusterFile:
    """Read the file. Raises PlanFailed, which names the field."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX)
        found = msgspec.yaml.decode(content, type=ClusterFile) if content.strip() else ClusterFile()
    except OSError as error:
        raise PlanFailed(f"cannot read {path}: {error.strerror}") from error
    except msgspec.ValidationError as error:
        reason, _, where = str(error).partition(" - at `$")
        raise PlanFailed(
            f"cannot use {path}: {where.strip('.`') or 'the file'}: {reason}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise PlanFailed(
            f"cannot use {path}: it is not YAML: {' '.join(str(error).split())}"
        ) from None
    for part, settings in (("server", found.server), ("agent", found.agent)):
        for key in settings:
            if str(key).replace("_", "-") in OWN:
                raise PlanFailed(f"cannot use {path}: {part}.{key}: the cluster sets it itself")
    beside = path.parent
    return msgspec.structs.replace(
        found,
        images=tuple(str(beside / image) for image in found.images),
        simulation_file=str(beside / found.simulation_file) if found.simulation_file else "",
        registry_config=str(beside / found.registry_config) if found.registry_config else "",
    )


def seconds_of(text: str) -> float:
    """Return a time such as 60s or 2m, or plain seconds. Raises PlanFailed."""
    try:
        seconds = (
            float(text)
            if text.replace(".", "", 1).isdecimal()
            else parse_duration(text).total_seconds()
        )
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86400:
        raise PlanFailed(
            f"cannot use --wait {text[:40]}: must be a duration such as 60s or 2m, or 0 not to wait"
        )
    return seconds
