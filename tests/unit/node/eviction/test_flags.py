"""The flags of eviction and of what is kept back, as settings of a node."""

from pathlib import Path
from typing import Any

import pytest

from kubelite.config import Config, InvalidConfig, load
from kubelite.node.allocatable import DEFAULT_RESERVATIONS
from kubelite.node.eviction.flags import eviction_settings, reservations
from kubelite.node.eviction.thresholds import EvictionSettings

NOWHERE = Path("/nowhere/config.yaml")


def loaded(**flags: Any) -> Config:
    return load(flags, {}, NOWHERE)


def test_defaults() -> None:
    assert eviction_settings(loaded()) == EvictionSettings()
    assert reservations(loaded()) == DEFAULT_RESERVATIONS
    assert loaded().max_pods == 110


def test_all_of_them() -> None:
    config = loaded(
        eviction_hard=("memory.available<1Gi,nodefs.available<1%",),
        eviction_soft=("memory.available<2Gi",),
        eviction_soft_grace_period=("memory.available=1m",),
        eviction_minimum_reclaim=("nodefs.available=1Gi",),
        eviction_max_pod_grace_period="30",
        eviction_pressure_transition_period="30s",
        system_reserved=("cpu=500m,memory=1Gi",),
        kube_reserved=("memory=1Gi", "ephemeral-storage=1Gi", "pid=100"),
        enforce_node_allocatable=("none",),
        max_pods="200",
    )
    settings = eviction_settings(config)
    assert [one.signal for one in settings.thresholds] == [
        "memory.available",
        "nodefs.available",
        "memory.available",
    ]
    assert (settings.max_pod_grace_seconds, settings.transition_seconds) == (30, 30.0)
    kept = reservations(config)
    assert kept.system == {"cpu": 500, "memory": 1 << 30}
    assert kept.kube == {"memory": 1 << 30, "ephemeral-storage": 1 << 30, "pid": 100}
    assert not kept.enforces_pods


def test_an_empty_value_switches_the_hard_thresholds_off() -> None:
    assert eviction_settings(loaded(eviction_hard=("",))).thresholds == ()
    environment = load({}, {"KUBELITE_EVICTION_HARD": ""}, NOWHERE)
    assert eviction_settings(environment).thresholds == ()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            {"eviction_hard": ("x<1%",)},
            "cannot use --eviction-hard x<1%: unsupported eviction signal x",
        ),
        (
            {"eviction_soft": ("memory.available<1Gi",)},
            (
                "cannot use --eviction-soft memory.available<1Gi: grace period must be specified "
                "for the soft eviction threshold memory.available"
            ),
        ),
        (
            {"eviction_soft_grace_period": ("memory.available=x",)},
            'cannot use --eviction-soft-grace-period memory.available=x: time: invalid duration "x"',
        ),
        (
            {"eviction_minimum_reclaim": ("memory.available",)},
            (
                "cannot use --eviction-minimum-reclaim memory.available: "
                "malformed pair, expect string=string"
            ),
        ),
        (
            {"eviction_pressure_transition_period": "-1s"},
            "cannot use --eviction-pressure-transition-period -1s: must be a duration such as 5m",
        ),
        (
            {"system_reserved": ("gpu=1",)},
            (
                'cannot use --system-reserved gpu=1: cannot reserve "gpu" resource, '
                "expect one of cpu, memory, ephemeral-storage, pid"
            ),
        ),
        (
            {"kube_reserved": ("memory=-1",)},
            (
                "cannot use --kube-reserved memory=-1: "
                'resource quantity for "memory" cannot be negative: -1'
            ),
        ),
        (
            {"enforce_node_allocatable": ("pods,none",)},
            (
                "cannot use --enforce-node-allocatable pods,none: enforceNodeAllocatable may not contain "
                'additional enforcements when "none" is specified'
            ),
        ),
        (
            {"enforce_node_allocatable": ("system-reserved",)},
            (
                "cannot use --enforce-node-allocatable system-reserved: system-reserved is not enforced "
                "by this node: the group of those processes is not its own"
            ),
        ),
        (
            {"reserved_memory": ("0:memory=1Gi",)},
            (
                "cannot use --reserved-memory 0:memory=1Gi: "
                "this node has no memory manager (policy None); see --system-reserved"
            ),
        ),
        ({"max_pods": "-1"}, "cannot use --max-pods -1: must not be negative"),
    ],
)
def test_what_is_refused_names_the_flag(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfig) as refused:
        load(flags, {}, NOWHERE)
    assert str(refused.value) == message
