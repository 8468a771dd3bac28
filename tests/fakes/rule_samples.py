"""Valid objects to break in tests."""

import copy
from collections.abc import Iterable
from typing import Any

from kubelite.api.errors import Cause

JSON = dict[str, Any]


def lines(found: Iterable[Cause]) -> list[str]:
    """Print causes as they stand in an error's message."""
    return [f"{cause.path}: {cause.message}" for cause in found]


def container(**fields: Any) -> JSON:
    """Make a defaulted container."""
    return {
        "name": "web",
        "image": "nginx",
        "imagePullPolicy": "Always",
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "resources": {},
        **fields,
    }


def pod_spec(**fields: Any) -> JSON:
    """Make a defaulted pod spec."""
    return {
        "containers": [container()],
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "terminationGracePeriodSeconds": 30,
        "securityContext": {},
        **fields,
    }


def pod(**fields: Any) -> JSON:
    """Make a pod with a spec of these fields."""
    metadata = {"name": "web", "namespace": "shop"}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": pod_spec(**fields)}


def template(**fields: Any) -> JSON:
    """Make a pod template with the label app=web."""
    return {"metadata": {"labels": {"app": "web"}}, "spec": pod_spec(**fields)}


def workload(**fields: Any) -> JSON:
    """Make an object whose spec selects and makes pods."""
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}},
        "template": template(),
        **fields,
    }
    return {"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}


def service(**fields: Any) -> JSON:
    """Make a ClusterIP service."""
    spec = {
        "type": "ClusterIP",
        "clusterIP": "10.43.0.7",
        "clusterIPs": ["10.43.0.7"],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "internalTrafficPolicy": "Cluster",
        "sessionAffinity": "None",
        "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}],
        **fields,
    }
    return {"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}


def changed(thing: JSON, path: str, value: Any) -> JSON:
    """Copy an object with the value at a dotted path set, or removed for None; numbers index lists."""
    result = copy.deepcopy(thing)
    *parents, last = path.split(".")
    place: Any = result
    for name in parents:
        place = place[int(name)] if isinstance(place, list) else place.setdefault(name, {})
    if isinstance(place, list):
        place[int(last)] = value
    elif value is None:
        place.pop(last, None)
    else:
        place[last] = value
    return result


def definition(field: JSON | None = None, **version: Any) -> JSON:
    """Make a defaulted CustomResourceDefinition of one version; `field` is the schema of its field spec.a."""
    return {
        "metadata": {"name": "gizmos.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {
                "plural": "gizmos",
                "singular": "gizmo",
                "kind": "Gizmo",
                "listKind": "GizmoList",
            },
            "conversion": {"strategy": "None"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": root_schema(
                            {"type": "string"} if field is None else field
                        )
                    },
                    **version,
                }
            ],
        },
        "status": {"storedVersions": ["v1"]},
    }


def root_schema(field: JSON, **root: Any) -> JSON:
    """Make the schema of a custom resource; `field` is that of its field spec.a."""
    spec = {"type": "object", "properties": {"a": field}}
    return {"type": "object", "properties": {"spec": spec}, **root}
