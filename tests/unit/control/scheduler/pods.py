"""Builders for pods and nodes in the scheduler's tests."""

from typing import Any

import msgspec

from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod


def make_pod(name: str, cpu: str = "100m", memory: str = "64Mi", **spec: Any) -> Pod:
    labels = spec.pop("labels", {})
    return msgspec.convert(
        {
            "metadata": {
                "name": name,
                "namespace": "default",
                "uid": spec.pop("uid", name),
                "labels": labels,
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {
                "containers": [
                    {
                        "name": "c",
                        "image": "web",
                        "resources": {"requests": {"cpu": cpu, "memory": memory}},
                        "ports": spec.pop("ports", []),
                    }
                ],
                **spec,
            },
        },
        Pod,
    )


def make_node(
    name: str, cpu: str = "4", memory: str = "8Gi", pods: str = "110", **fields: Any
) -> Node:
    labels = {"kubernetes.io/hostname": name, **fields.pop("labels", {})}
    return msgspec.convert(
        {
            "metadata": {"name": name, "labels": labels},
            "spec": {**fields},
            "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": pods}},
        },
        Node,
    )
