"""The settings of eviction and of what a node keeps back from its pods, spelt as the kubelet spells them."""

from typing import Annotated

import msgspec
from msgspec import Struct

from kubelite.settings import Setting, unusable


class EvictionConfig(Struct, frozen=True, kw_only=True):
    """A part of the configuration of every node."""

    max_pods: Annotated[int, Setting("Number of pods that this node takes", "COUNT")] = 110
    system_reserved: Annotated[
        tuple[str, ...], Setting("Resources kept back for the system", "NAME=QUANTITY")
    ] = ()
    kube_reserved: Annotated[
        tuple[str, ...], Setting("Resources kept back for kubelite and the engine", "NAME=QUANTITY")
    ] = ()
    enforce_node_allocatable: Annotated[
        tuple[str, ...],
        Setting("Limit all pods together to what is not kept back (default: pods)", "pods|none"),
    ] = ()
    reserved_memory: Annotated[tuple[str, ...], Setting("Not supported by this node", "TEXT")] = ()
    eviction_hard: Annotated[
        tuple[str, ...],
        Setting(
            "Thresholds below which pods are evicted at once (default: "
            "memory.available<100Mi, 5% of disks and inodes)",
            "SIGNAL<AMOUNT",
        ),
    ] = ()
    eviction_soft: Annotated[
        tuple[str, ...],
        Setting("Thresholds below which pods are evicted after a grace period", "SIGNAL<AMOUNT"),
    ] = ()
    eviction_soft_grace_period: Annotated[
        tuple[str, ...], Setting("How long each soft one is met before that", "SIGNAL=DURATION")
    ] = ()
    eviction_max_pod_grace_period: Annotated[
        int, Setting("Longest grace period of a pod then; negative: the pod's", "SECONDS")
    ] = 0
    eviction_minimum_reclaim: Annotated[
        tuple[str, ...], Setting("How much more than its threshold is freed", "SIGNAL=AMOUNT")
    ] = ()
    eviction_pressure_transition_period: Annotated[
        str, Setting("How long a condition of pressure stays after its end", "DURATION")
    ] = "5m"


def check_eviction(config: EvictionConfig) -> None:
    """Check the settings of eviction and of what is kept back. Raises InvalidConfig."""
    if all(
        getattr(config, field.name) == field.default
        for field in msgspec.structs.fields(EvictionConfig)
    ):
        return  # a control plane alone does without the parsers
    from kubelite.node.eviction.flags import InvalidFlag, check_flags

    try:
        check_flags(config)
    except InvalidFlag as error:
        raise unusable(error.field, error.value, str(error)) from None
