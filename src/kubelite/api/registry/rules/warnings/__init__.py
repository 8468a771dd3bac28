"""Warnings about a valid object: fields that are deprecated, ignored or probably a mistake.

A rule yields texts in Kubernetes' own words, beside the rules of its kind that yield causes. Warnings are computed
after an object has passed validation, and only for callers over HTTP, which show them.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice

from msgspec import Struct

from kubelite.api.registry.resources import Resource
from kubelite.api.registry.rules.values import JSON
from kubelite.api.registry.rules.warnings import cluster, networking, pods, storage, workloads
from kubelite.limits import OBJECT_WARNINGS

OnCreate = Callable[[JSON], Iterable[str]]
OnUpdate = Callable[[JSON, JSON], Iterable[str]]


class Warnings(Struct, frozen=True):
    """The warnings of one kind: about a new object, a changed one, and one whose status changed."""

    create: OnCreate | None = None
    update: OnUpdate | None = None
    status: OnUpdate | None = None


def _always(rule: OnCreate, status: OnUpdate | None = None) -> Warnings:
    """Warnings about a changed object as about a new one."""
    return Warnings(rule, lambda thing, _: rule(thing), status)


_ADMISSION = "admissionregistration.k8s.io"
_PODS_MADE = Warnings(workloads.create, workloads.update)
_STATIC = _always(cluster.static_name)

WARNINGS: Mapping[tuple[str, str], Warnings] = {
    ("", "Pod"): Warnings(pods.create, None, pods.status),
    ("", "PodTemplate"): Warnings(workloads.stored_template, workloads.stored_template_update),
    ("", "ReplicationController"): _PODS_MADE,
    ("", "Service"): _always(networking.service, networking.balancer_status),
    ("", "Endpoints"): _always(networking.endpoints),
    ("", "Secret"): _always(cluster.secret),
    ("", "ServiceAccount"): Warnings(cluster.service_account, cluster.service_account_update),
    ("", "Node"): _always(cluster.node),
    ("", "PersistentVolume"): _always(storage.volume),
    ("", "PersistentVolumeClaim"): _always(storage.claim),
    ("", "ResourceQuota"): Warnings(cluster.quota),
    ("apps", "Deployment"): _PODS_MADE,
    ("apps", "ReplicaSet"): _PODS_MADE,
    ("apps", "StatefulSet"): Warnings(workloads.stateful_set, workloads.stateful_set_update),
    ("apps", "DaemonSet"): Warnings(workloads.daemon_set, workloads.daemon_set_update),
    ("batch", "Job"): Warnings(workloads.job, workloads.job_update),
    ("batch", "CronJob"): Warnings(workloads.cron_job, workloads.cron_job_update),
    ("discovery.k8s.io", "EndpointSlice"): Warnings(
        networking.endpoint_slice, lambda thing, _: networking.endpoint_slice_addresses(thing)
    ),
    ("networking.k8s.io", "Ingress"): Warnings(
        networking.ingress, None, networking.balancer_status
    ),
    ("networking.k8s.io", "NetworkPolicy"): _always(networking.policy),
    ("node.k8s.io", "RuntimeClass"): _always(cluster.runtime_class),
    ("storage.k8s.io", "StorageClass"): _always(storage.storage_class),
    ("storage.k8s.io", "CSIStorageCapacity"): _always(storage.capacity),
    ("storage.k8s.io", "CSIDriver"): Warnings(storage.driver, storage.driver_update),
    ("resource.k8s.io", "ResourceSlice"): _always(cluster.resource_slice),
    (_ADMISSION, "ValidatingWebhookConfiguration"): _STATIC,
    (_ADMISSION, "MutatingWebhookConfiguration"): _STATIC,
    (_ADMISSION, "ValidatingAdmissionPolicy"): _STATIC,
    (_ADMISSION, "MutatingAdmissionPolicy"): _STATIC,
    (_ADMISSION, "ValidatingAdmissionPolicyBinding"): _STATIC,
    (_ADMISSION, "MutatingAdmissionPolicyBinding"): _STATIC,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): Warnings(
        cluster.custom_resource, cluster.custom_resource_update
    ),
}


def warn(
    resource: Resource, thing: JSON, old: JSON | None, subresource: str = ""
) -> tuple[str, ...]:
    """Return the warnings about a valid object; `old` is the object it replaces, None for a create."""
    kind = resource.kind
    if (rules := WARNINGS.get((kind.group, kind.kind))) is None:
        return ()
    found: Iterable[str] = ()
    if old is None:
        if rules.create is not None:
            found = rules.create(thing)
    elif subresource == "status":
        if rules.status is not None:
            found = rules.status(thing, old)
    elif rules.update is not None:
        found = rules.update(thing, old)
    told = tuple(islice(found, OBJECT_WARNINGS.value))
    if len(told) == OBJECT_WARNINGS.value:
        OBJECT_WARNINGS.reached()
    return told


__all__ = ["WARNINGS", "Warnings", "warn"]
