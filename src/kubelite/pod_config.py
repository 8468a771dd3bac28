"""The settings of how a node runs pods: static ones, what is kept of their containers, their end at a shutdown.

They are spelt as the kubelet spells them.
"""

from typing import Annotated

from kubelite.eviction_config import EvictionConfig, check_eviction
from kubelite.settings import Setting, unusable


class PodConfig(EvictionConfig, frozen=True, kw_only=True):
    """A part of the configuration of every node."""

    container_log_max_size: Annotated[
        str, Setting("Size at which the file of a container's output is rotated; -1: never", "SIZE")
    ] = "10Mi"
    container_log_max_files: Annotated[
        int, Setting("Files of one container's output, at least 2", "COUNT")
    ] = 5
    maximum_dead_containers_per_container: Annotated[
        int, Setting("Ended runs of a container kept beside its newest; -1: all", "COUNT")
    ] = 1
    maximum_dead_containers: Annotated[
        int, Setting("Ended containers kept on the whole node; -1: no bound", "COUNT")
    ] = -1
    minimum_container_ttl_duration: Annotated[
        str, Setting("Age below which an ended container is kept in any case", "DURATION")
    ] = "0s"
    healthz_port: Annotated[
        int, Setting("Port of the node's /healthz, without TLS; 0: none", "PORT")
    ] = 10248
    healthz_bind_address: Annotated[
        str, Setting("Address that /healthz listens on", "IP", is_filled=True)
    ] = "127.0.0.1"
    pod_manifest_path: Annotated[
        str,
        Setting(
            "Folder, or file, of pods that this node runs without the API "
            "(default: agent/pod-manifests in the data folder)",
            "PATH",
        ),
    ] = ""
    shutdown_grace_period: Annotated[
        str,
        Setting(
            "How long a shutdown of the host waits for its pods to end; 0s: it does not", "DURATION"
        ),
    ] = "0s"
    shutdown_grace_period_critical_pods: Annotated[
        str, Setting("The part of that time which is kept for critical pods", "DURATION")
    ] = "0s"
    shutdown_grace_period_by_pod_priority: Annotated[
        tuple[str, ...],
        Setting(
            "How long pods from a priority on may take to end, instead of those two",
            "PRIORITY=DURATION",
        ),
    ] = ()
    cpu_manager_policy: Annotated[
        str, Setting("How CPUs are given to containers; none alone is supported", "POLICY")
    ] = "none"
    memory_manager_policy: Annotated[
        str, Setting("How memory is given to containers; None alone is supported", "POLICY")
    ] = "None"
    topology_manager_policy: Annotated[
        str, Setting("How CPUs and devices are aligned; none alone is supported", "POLICY")
    ] = "none"
    memory_swap_behavior: Annotated[
        str, Setting("Whether pods may swap; NoSwap alone is supported", "BEHAVIOR")
    ] = "NoSwap"


def check_pods(config: PodConfig) -> None:
    """Check these settings and those of eviction. Raises InvalidConfig."""
    from kubelite.node.checked_settings import problems

    for field, value, problem in problems(config):
        raise unusable(field, value, problem)
    _check_containers(config)
    check_eviction(config)


def _check_containers(config: PodConfig) -> None:
    from kubelite.node.log_policy import read_dead_policy, read_log_policy

    size, files = config.container_log_max_size, config.container_log_max_files
    try:
        read_log_policy(size, 2)
    except ValueError as error:
        raise unusable("container_log_max_size", size, str(error)) from None
    try:
        read_log_policy("1", files)
    except ValueError as error:
        raise unusable("container_log_max_files", files, str(error)) from None
    age = config.minimum_container_ttl_duration
    try:
        read_dead_policy(1, age)
    except ValueError as error:
        raise unusable("minimum_container_ttl_duration", age, str(error)) from None
