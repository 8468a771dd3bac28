# ruff: noqa: ARG002 - the hooks of the generic strategy ignore what those of a kind need
"""The write hooks of a kind, with the generic behaviour.

A strategy decides and changes dicts; it never waits and never touches the store.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from kubelite.api.auth.caller import Caller
from kubelite.api.registry.admission.request import Reservation
from kubelite.api.registry.options import DeletionOptions
from kubelite.api.registry.resources import Resource
from kubelite.randomness import Randomness

if TYPE_CHECKING:
    from kubelite.api.registry.addresses import ServiceAddresses

# Kinds whose metadata.generation counts changes of the desired state.
COUNTED = frozenset(
    {
        "priorityclasses.scheduling.k8s.io",
        "ingressclasses.networking.k8s.io",
        "networkpolicies.networking.k8s.io",
        "ingresses.networking.k8s.io",
        "endpointslices.discovery.k8s.io",
        "poddisruptionbudgets.policy",
        "resourceslices.resource.k8s.io",
        "deviceclasses.resource.k8s.io",
        "flowschemas.flowcontrol.apiserver.k8s.io",
        "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
        "daemonsets.apps",
        "statefulsets.apps",
        "deployments.apps",
        "replicasets.apps",
        "jobs.batch",
        "cronjobs.batch",
        "pods.core",
        "podtemplates.core",
        "replicationcontrollers.core",
        "validatingadmissionpolicies.admissionregistration.k8s.io",
        "mutatingadmissionpolicies.admissionregistration.k8s.io",
        "mutatingwebhookconfigurations.admissionregistration.k8s.io",
        "validatingwebhookconfigurations.admissionregistration.k8s.io",
        "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
        "validatingadmissionpolicybindings.admissionregistration.k8s.io",
        "customresourcedefinitions.apiextensions.k8s.io",
    }
)

# Kinds that a PUT on a name that does not exist creates.
CREATED_BY_UPDATE = frozenset(
    {
        "runtimeclasses.node.k8s.io",
        "rolebindings.rbac.authorization.k8s.io",
        "clusterrolebindings.rbac.authorization.k8s.io",
        "roles.rbac.authorization.k8s.io",
        "clusterroles.rbac.authorization.k8s.io",
        "leases.coordination.k8s.io",
        "limitranges.core",
        "events.core",
        "services.core",
        "endpoints.core",
    }
)

# Kinds whose updates must name the resource version they are based on.
CONDITIONAL = frozenset(
    {
        "runtimeclasses.node.k8s.io",
        "poddisruptionbudgets.policy",
        "csidrivers.storage.k8s.io",
        "csistoragecapacities.storage.k8s.io",
        "volumeattachments.storage.k8s.io",
        "csinodes.storage.k8s.io",
        "leases.coordination.k8s.io",
        "validatingadmissionpolicies.admissionregistration.k8s.io",
        "mutatingadmissionpolicies.admissionregistration.k8s.io",
        "mutatingwebhookconfigurations.admissionregistration.k8s.io",
        "validatingwebhookconfigurations.admissionregistration.k8s.io",
        "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
        "validatingadmissionpolicybindings.admissionregistration.k8s.io",
        "apiservices.apiregistration.k8s.io",
        "customresourcedefinitions.apiextensions.k8s.io",
    }
)

# Kinds whose immediate deletion answers the object instead of a Status.
ANSWERED_WHOLE = frozenset(
    {
        "namespaces.core",
        "pods.core",
        "services.core",
        "serviceaccounts.core",
        "podtemplates.core",
        "persistentvolumes.core",
        "persistentvolumeclaims.core",
        "resourcequotas.core",
        "storageclasses.storage.k8s.io",
        "volumeattachments.storage.k8s.io",
        "csinodes.storage.k8s.io",
        "csidrivers.storage.k8s.io",
        "volumeattributesclasses.storage.k8s.io",
        "resourceclaims.resource.k8s.io",
        "resourceclaimtemplates.resource.k8s.io",
        "resourceslices.resource.k8s.io",
        "deviceclasses.resource.k8s.io",
    }
)


# Subresources ("": the object itself) whose writes count the generation. A binding does not change the desired state.
COUNTED_PARTS = frozenset({"", "scale", "resize", "ephemeralcontainers"})


class WriteContext(Struct, frozen=True):
    """The caller, the date and the sources of randomness and addresses of one write."""

    caller: Caller
    now: datetime
    randomness: Randomness
    dry_run: bool = False
    addresses: "ServiceAddresses | None" = None  # None: Services get none (tests of other things)


class Strategy:
    """The generic behaviour; a kind with behaviour of its own overrides hooks."""

    default_orphan = False  # dependents are orphaned unless the deletion says otherwise
    orphan_warning = ""  # warning for a deletion without a propagation policy
    collected = True  # takes part in garbage collection, so deletion may add its finalizers
    status_keeps_labels = False  # a status write cannot change labels
    created_with_status = False  # a create keeps the status of its body

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self.counts_generation = resource.storage in COUNTED or resource.type is None
        self.created_by_update = resource.storage in CREATED_BY_UPDATE
        self.unconditional = resource.storage not in CONDITIONAL and resource.type is not None
        self.answered_whole = resource.storage in ANSWERED_WHOLE

    def prepare_create(self, item: dict[str, Any], context: WriteContext) -> None:
        """Set the first generation and drop the status, which a client cannot set by a create."""
        if self.counts_generation:
            item["metadata"]["generation"] = 1
        else:
            item["metadata"].pop("generation", None)
        if self.resource.has_status and not self.created_with_status:
            item.pop("status", None)

    def prepare_update(
        self,
        item: dict[str, Any],
        old: dict[str, Any],
        subresource: str,
        context: WriteContext,
    ) -> None:
        """Restore from `old` the parts that this path does not write, and count the generation."""
        if (
            subresource and subresource != "scale"
        ):  # the scale is merged into the whole object already
            self.prepare_part(item, old, subresource, context)
        elif self.resource.has_status:
            keep(item, old, "status")
        if subresource in COUNTED_PARTS:
            self.count(item, old)

    def prepare_part(
        self,
        item: dict[str, Any],
        old: dict[str, Any],
        subresource: str,
        context: WriteContext,
    ) -> None:
        """Restore from `old` all but the part that the subresource writes; by default the status."""
        assert subresource == "status", f"{self.resource.plural}/{subresource} needs a strategy"
        for name in {*item, *old} - {"metadata", "status", "kind", "apiVersion"}:
            keep(item, old, name)
        if self.status_keeps_labels:
            keep(item["metadata"], old["metadata"], "labels")

    def count(self, item: dict[str, Any], old: dict[str, Any]) -> None:
        """Increment the generation if the desired state changed."""
        if self.counts_generation and wanted(item) != wanted(old):
            item["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1

    def finish(
        self, item: dict[str, Any], old: dict[str, Any] | None, context: WriteContext
    ) -> None:
        """Complete an object after mutating admission and defaults, before validation."""

    def reserve(
        self, item: dict[str, Any], old: dict[str, Any] | None, context: WriteContext
    ) -> Reservation | None:
        """Allocate unique values (addresses, ports) into `item`; None: it needs none. `old` is None for a create."""
        return None

    def release(self, item: dict[str, Any], context: WriteContext) -> Reservation | None:
        """Return the reservation that frees the unique values of `item` when it is removed; None: it has none."""
        return None

    def grace(self, item: dict[str, Any], options: DeletionOptions) -> int | None:
        """Return the grace period of a deletion in seconds; None: this kind has none."""
        return None

    def holds(self, item: dict[str, Any]) -> bool:
        """Return whether the kind itself, beside metadata.finalizers, keeps the object from being removed."""
        return False

    def mark_deleted(self, item: dict[str, Any]) -> None:
        """Change the object to show that its deletion began, such as a phase."""


def keep(item: dict[str, Any], old: dict[str, Any], name: str) -> None:
    """Restore a field from `old`, or remove it if `old` lacks it."""
    if name in old:
        item[name] = old[name]
    else:
        item.pop(name, None)


_NOT_WANTED = frozenset({"metadata", "status", "kind", "apiVersion"})


def wanted(item: dict[str, Any]) -> dict[str, Any]:
    """Return the desired state of an object: all fields but metadata, status and its type."""
    return {name: value for name, value in item.items() if name not in _NOT_WANTED}
