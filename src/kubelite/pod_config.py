"""The settings of how a node runs pods: static ones, their end at a shutdown of the host, policies of resources.

They are spelt as the kubelet spells them.
"""

from typing import Annotated

from kubelite.eviction_config import EvictionConfig, check_eviction
from kubelite.settings import Setting, unusable


class PodConfig(EvictionConfig, frozen=True, kw_only=True):
    """A part of the configuration of every node."""

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
    check_eviction(config)
