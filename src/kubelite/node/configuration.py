"""The node's settings in the form of a KubeletConfiguration (kubelet.config.k8s.io/v1beta1), as /configz shows them.

It has only the fields that stand for something this node does; the rest of upstream's would claim what is not so.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import Struct

from kubelite.api.machinery.times import parse_duration
from kubelite.node.allocatable import enforces_pods
from kubelite.node.eviction.defaults import EVICTION_HARD
from kubelite.node.eviction.flags import Flags
from kubelite.node.eviction.thresholds import split_pairs
from kubelite.node.registration import (
    LEASE_DURATION_SECONDS,
    LEASE_RENEW_SECONDS,
    STATUS_REPORT,
)
from kubelite.node.shutdown.periods import Period
from kubelite.node.user_namespaces import IDS_PER_POD


class ShownFlags(Flags, Protocol):
    """The flags of eviction, images and logs, as they were given."""

    @property
    def container_log_max_size(self) -> str: ...
    @property
    def container_log_max_files(self) -> int: ...
    @property
    def serialize_image_pulls(self) -> bool: ...
    @property
    def pulls_at_once(self) -> int: ...
    @property
    def registry_qps(self) -> int: ...
    @property
    def registry_burst(self) -> int: ...
    @property
    def image_pull_credentials_verification_policy(self) -> str: ...
    @property
    def preloaded_images_verification_allowlist(self) -> tuple[str, ...]: ...
    @property
    def image_gc_high_threshold(self) -> int: ...
    @property
    def image_gc_low_threshold(self) -> int: ...
    @property
    def minimum_image_ttl_duration(self) -> str: ...
    @property
    def image_maximum_gc_age(self) -> str: ...


class ShownSettings(Struct, frozen=True, kw_only=True):
    """The settings of a node that another program may ask for."""

    address: str
    port: int
    static_pod_path: str
    cluster_domain: str
    cluster_dns: tuple[str, ...]
    allowed_unsafe_sysctls: tuple[str, ...]
    shutdown_periods: tuple[Period, ...]
    shutdown_grace_period: str
    shutdown_grace_period_critical_pods: str
    pod_log_dir: str
    policies: dict[str, str]
    flags: ShownFlags


def kubelet_configuration(shown: ShownSettings) -> dict[str, Any]:
    """Return the KubeletConfiguration of a node."""
    return {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "staticPodPath": shown.static_pod_path,
        "address": shown.address,
        "port": shown.port,
        "authentication": {
            "x509": {},
            "webhook": {"enabled": True, "cacheTTL": "0s"},
            "anonymous": {"enabled": False},
        },
        "authorization": {"mode": "Webhook", "webhook": {}},
        "clusterDomain": shown.cluster_domain,
        "clusterDNS": list(shown.cluster_dns),
        "nodeStatusUpdateFrequency": f"{LEASE_RENEW_SECONDS:.0f}s",
        "nodeStatusReportFrequency": _duration(STATUS_REPORT.total_seconds()),
        "nodeLeaseDurationSeconds": LEASE_DURATION_SECONDS,
        "cgroupRoot": "/kubelite",
        "cpuManagerPolicy": shown.policies["cpu"],
        "memoryManagerPolicy": shown.policies["memory"],
        "topologyManagerPolicy": shown.policies["topology"],
        "maxPods": shown.flags.max_pods,
        "failSwapOn": False,
        "memorySwap": {"swapBehavior": shown.policies["swap"]},
        "allowedUnsafeSysctls": list(shown.allowed_unsafe_sysctls),
        "shutdownGracePeriod": shown.shutdown_grace_period,
        "shutdownGracePeriodCriticalPods": shown.shutdown_grace_period_critical_pods,
        "shutdownGracePeriodByPodPriority": _periods(shown.shutdown_periods),
        "containerLogMaxSize": shown.flags.container_log_max_size,
        "containerLogMaxFiles": shown.flags.container_log_max_files,
        "podLogsDir": f"{shown.pod_log_dir.rstrip('/')}/pods",
        "userNamespaces": {"idsPerPod": IDS_PER_POD},
        **_eviction(shown.flags),
        **_images(shown.flags),
    }


def _eviction(flags: Flags) -> dict[str, Any]:
    """Return the fields of eviction and of what the node keeps back; those without a value are left out."""
    fields = {
        "evictionSoft": split_pairs(flags.eviction_soft, "<"),
        "evictionSoftGracePeriod": split_pairs(flags.eviction_soft_grace_period, "="),
        "evictionMinimumReclaim": split_pairs(flags.eviction_minimum_reclaim, "="),
        "systemReserved": split_pairs(flags.system_reserved, "="),
        "kubeReserved": split_pairs(flags.kube_reserved, "="),
    }
    return {
        "evictionHard": split_pairs(flags.eviction_hard or EVICTION_HARD, "<"),
        "evictionPressureTransitionPeriod": _canonical(flags.eviction_pressure_transition_period),
        "evictionMaxPodGracePeriod": flags.eviction_max_pod_grace_period,
        "enforceNodeAllocatable": [
            "pods" if enforces_pods(flags.enforce_node_allocatable or ("pods",)) else "none"
        ],
        **{name: value for name, value in fields.items() if value},
    }


def _images(flags: ShownFlags) -> dict[str, Any]:
    policy = flags.image_pull_credentials_verification_policy
    listed = flags.preloaded_images_verification_allowlist
    return {
        "serializeImagePulls": flags.serialize_image_pulls,
        "maxParallelImagePulls": flags.pulls_at_once,
        "registryPullQPS": flags.registry_qps,
        "registryBurst": flags.registry_burst,
        "imagePullCredentialsVerificationPolicy": policy,
        **({"preloadedImagesVerificationAllowlist": list(listed)} if listed else {}),
        "imageGCHighThresholdPercent": flags.image_gc_high_threshold,
        "imageGCLowThresholdPercent": flags.image_gc_low_threshold,
        "imageMinimumGCAge": _canonical(flags.minimum_image_ttl_duration),
        "imageMaximumGCAge": _canonical(flags.image_maximum_gc_age),
    }


def _periods(periods: Sequence[Period]) -> list[dict[str, int]]:
    return [
        {"priority": one.priority, "shutdownGracePeriodSeconds": one.seconds} for one in periods
    ]


def _canonical(duration: str) -> str:
    return _duration(parse_duration(duration).total_seconds())


def _duration(seconds: float) -> str:
    """Return a duration as Go writes it, without fractions of a millisecond."""
    minutes, rest = divmod(round(seconds, 3), 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text
