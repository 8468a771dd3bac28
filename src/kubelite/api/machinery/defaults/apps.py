"""Defaults of deployments, replica sets, stateful sets and daemon sets."""

from __future__ import annotations

from typing import Any

from kubelite.api.machinery.defaults.pods import default_template
from kubelite.api.machinery.defaults.volumes import default_claim

Fields = dict[str, Any]

REVISIONS_KEPT = 10
PROGRESS_DEADLINE_SECONDS = 600


def default_deployment(deployment: Fields) -> None:
    """Set the defaults of a deployment: one replica, rolling update with 25% maxSurge and maxUnavailable."""
    spec = deployment["spec"]
    default_template(spec["template"])
    spec.setdefault("replicas", 1)
    strategy = spec["strategy"]
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", REVISIONS_KEPT)
    spec.setdefault("progressDeadlineSeconds", PROGRESS_DEADLINE_SECONDS)


def default_replica_set(replica_set: Fields) -> None:
    """Set the defaults of a replica set."""
    replica_set["spec"].setdefault("replicas", 1)
    default_template(replica_set["spec"]["template"])


def default_daemon_set(daemon_set: Fields) -> None:
    """Set the defaults of a daemon set: rolling update with maxUnavailable 1."""
    spec = daemon_set["spec"]
    default_template(spec["template"])
    strategy = spec["updateStrategy"]
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    spec.setdefault("revisionHistoryLimit", REVISIONS_KEPT)


def default_stateful_set(stateful_set: Fields) -> None:
    """Set the defaults of a stateful set: OrderedReady, and claims are retained."""
    spec = stateful_set["spec"]
    default_template(spec["template"])
    spec.setdefault("podManagementPolicy", "OrderedReady")
    strategy = spec["updateStrategy"]
    if "type" not in strategy:
        strategy["type"] = "RollingUpdate"
        strategy.setdefault("rollingUpdate", {})
    if strategy["type"] == "RollingUpdate" and "rollingUpdate" in strategy:
        strategy["rollingUpdate"].setdefault("partition", 0)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    retention.setdefault("whenDeleted", "Retain")
    retention.setdefault("whenScaled", "Retain")
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", REVISIONS_KEPT)
    for claim in spec.get("volumeClaimTemplates", ()):
        claim["apiVersion"], claim["kind"] = "v1", "PersistentVolumeClaim"
        default_claim(claim)
