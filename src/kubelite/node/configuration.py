"""The node's settings in the form of a KubeletConfiguration (kubelet.config.k8s.io/v1beta1), as /configz shows them.

It has only the fields that stand for something this node does; the rest of upstream's would claim what is not so.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from kubelite.node.registration import (
    LEASE_DURATION_SECONDS,
    LEASE_RENEW_SECONDS,
    PODS_LIMIT,
    STATUS_REPORT,
)
from kubelite.node.shutdown.periods import Period
from kubelite.node.user_namespaces import IDS_PER_POD


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
        "nodeStatusReportFrequency": _duration(int(STATUS_REPORT.total_seconds())),
        "nodeLeaseDurationSeconds": LEASE_DURATION_SECONDS,
        "cgroupRoot": "/kubelite",
        "cpuManagerPolicy": shown.policies["cpu"],
        "memoryManagerPolicy": shown.policies["memory"],
        "topologyManagerPolicy": shown.policies["topology"],
        "maxPods": PODS_LIMIT,
        "failSwapOn": False,
        "memorySwap": {"swapBehavior": shown.policies["swap"]},
        "allowedUnsafeSysctls": list(shown.allowed_unsafe_sysctls),
        "shutdownGracePeriod": shown.shutdown_grace_period,
        "shutdownGracePeriodCriticalPods": shown.shutdown_grace_period_critical_pods,
        "shutdownGracePeriodByPodPriority": _periods(shown.shutdown_periods),
        "podLogsDir": f"{shown.pod_log_dir.rstrip('/')}/pods",
        "userNamespaces": {"idsPerPod": IDS_PER_POD},
    }


def _periods(periods: Sequence[Period]) -> list[dict[str, int]]:
    return [
        {"priority": one.priority, "shutdownGracePeriodSeconds": one.seconds} for one in periods
    ]


def _duration(seconds: int) -> str:
    """Return a duration as Go writes it."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
