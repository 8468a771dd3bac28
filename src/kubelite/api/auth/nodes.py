"""The Node authorizer: a node may read what the pods bound to it refer to, and write its own objects.

A graph (pod to the objects it refers to, persistent volume to its claim and secrets) counts references by node, so a
decision is a look-up. The NodeRestriction admission plugin checks the content of written objects.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from kubelite.api.auth.caller import Attributes, Caller
from kubelite.api.auth.lookup import Lookup
from kubelite.api.auth.pod_references import (
    CLAIMS,
    CONFIG_MAPS,
    MIRROR,
    RESOURCE_CLAIMS,
    SECRETS,
    SERVICE_ACCOUNTS,
    VOLUMES,
    Reference,
    references_of,
    volume_secrets,
)
from kubelite.api.auth.rbac import Decision
from kubelite.api.auth.rules import allows, asked, compiled
from kubelite.api.kinds.core.persistent_volumes import PersistentVolume
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.networking import Ingress, IngressClass
from kubelite.api.kinds.rbac import PolicyRule
from kubelite.api.kinds.resource import ResourceSlice
from kubelite.api.kinds.storage import VolumeAttachment
from kubelite.api.machinery.field_selectors import required_values
from kubelite.api.machinery.ingress_classes import is_ours, own_classes, secrets_of
from kubelite.api.machinery.local_volumes import NODE_LABEL, keeper_of
from kubelite.api.machinery.selectors import requires_label

NODES_GROUP = "system:nodes"
NODE_USER = "system:node:"
LEASE_NAMESPACE = "kube-node-lease"
PODS, ATTACHMENTS, SLICES = "pods", "volumeattachments", "resourceslices"
FOLDERS = "folders"  # in the graph only: the volumes whose folders a node keeps
ALLOWED = Decision(allowed=True)
Key = tuple[str, str]  # namespace and name
OWN_VERBS = ("get", "create", "update", "patch", "delete")


def node_name(caller: Caller) -> str | None:
    """Return NAME of a user `system:node:NAME`; None if the caller is no node, "" if the name is missing."""
    if NODES_GROUP not in caller.groups or not caller.user.startswith(NODE_USER):
        return None
    return caller.user.removeprefix(NODE_USER)


class NodeGraph:
    """Maps an object to the nodes that need it."""

    def __init__(self, lookup: Lookup) -> None:
        self._nodes: dict[Reference, Counter[str]] = {}
        self._claims: dict[Reference, set[Reference]] = {}  # of a volume, or of a volume's secret
        lookup.subscribe(Pod, self._pod_changed)
        lookup.subscribe(PersistentVolume, self._volume_changed)
        lookup.subscribe(VolumeAttachment, self._attachment_changed)
        lookup.subscribe(ResourceSlice, self._slice_changed)
        self._ingresses: dict[tuple[str, str], Ingress] = {}  # those with a TLS section
        self._ingress_classes: dict[str, IngressClass] = {}
        self._ingress_secrets: frozenset[Reference] = frozenset()  # which every node needs
        self._of_gateways: frozenset[Reference] = frozenset()  # which every node needs too
        lookup.subscribe(IngressClass, self._ingress_class_changed)
        lookup.subscribe(Ingress, self._ingress_changed)

    def concerns(self, node: str, resource: str, namespace: str, name: str) -> bool:
        """Return whether a node needs an object, directly or through a claim of a persistent volume."""
        reference = Reference(resource, namespace, name)
        if node in self._nodes.get(reference, ()) or reference in self._ingress_secrets:
            return True
        if reference in self._of_gateways:
            return True
        return any(node in self._nodes.get(c, ()) for c in self._claims.get(reference, ()))

    def serve(self, secrets: frozenset[Key], configs: frozenset[Key]) -> None:
        """Let every node read the Secrets and ConfigMaps that Gateways need, and no others."""
        self._of_gateways = frozenset(
            Reference(resource, *key)
            for resource, keys in ((SECRETS, secrets), (CONFIG_MAPS, configs))
            for key in keys
        )

    def _count(self, node: str, references: set[Reference], by: int) -> None:
        for reference in references if node else ():
            nodes = self._nodes.setdefault(reference, Counter())
            nodes[node] += by
            if not nodes[node]:
                del nodes[node]
            if not nodes:
                del self._nodes[reference]

    def _pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        if before and after and _refers_alike(before, after):
            return  # most changes of a pod change only its status
        for pod, by in ((before, -1), (after, 1)):
            if pod is not None and pod.spec.nodeName:
                own = Reference(PODS, pod.metadata.namespace, pod.metadata.name)
                self._count(pod.spec.nodeName, {own, *references_of(pod)}, by)

    def _volume_changed(
        self, before: PersistentVolume | None, after: PersistentVolume | None
    ) -> None:
        for kept, by in ((before, -1), (after, 1)):
            if kept is not None:
                self._count(keeper_of(kept), {Reference(FOLDERS, "", kept.metadata.name)}, by)
        for volume in (before, after):
            if volume is None or volume.spec.claimRef is None:
                continue
            ref = volume.spec.claimRef
            claim = Reference(CLAIMS, ref.namespace, ref.name)
            for reference in {
                Reference(VOLUMES, "", volume.metadata.name),
                *volume_secrets(volume),
            }:
                claims = self._claims.setdefault(reference, set())
                claims.add(claim) if volume is after else claims.discard(claim)
                if not claims:
                    del self._claims[reference]

    def _attachment_changed(
        self, before: VolumeAttachment | None, after: VolumeAttachment | None
    ) -> None:
        for attachment, by in ((before, -1), (after, 1)):
            if attachment is not None:
                own = {Reference(ATTACHMENTS, "", attachment.metadata.name)}
                self._count(attachment.spec.nodeName, own, by)

    def _ingress_changed(self, before: Ingress | None, after: Ingress | None) -> None:
        was_secured = before is not None and bool(before.spec.tls)
        if not was_secured and (after is None or not after.spec.tls):
            return
        item = after or before
        assert item is not None
        key = item.metadata.namespace, item.metadata.name
        if after is not None and after.spec.tls:
            self._ingresses[key] = after
        else:
            self._ingresses.pop(key, None)
        self._find_ingress_secrets()

    def _ingress_class_changed(
        self, before: IngressClass | None, after: IngressClass | None
    ) -> None:
        if after is not None:
            self._ingress_classes[after.metadata.name] = after
        elif before is not None:
            self._ingress_classes.pop(before.metadata.name, None)
        self._find_ingress_secrets()

    def _find_ingress_secrets(self) -> None:
        """Every node serves every Ingress of kubelite's, so each one needs their certificates."""
        own = own_classes(self._ingress_classes.values())
        self._ingress_secrets = frozenset(
            Reference(SECRETS, namespace, name)
            for (namespace, _), ingress in self._ingresses.items()
            if is_ours(ingress, own)
            for name in secrets_of(ingress)
        )

    def _slice_changed(self, before: ResourceSlice | None, after: ResourceSlice | None) -> None:
        for item, by in ((before, -1), (after, 1)):
            if item is not None:
                own = {Reference(SLICES, "", item.metadata.name)}
                self._count(item.spec.nodeName or "", own, by)


class NodeAuthorizer:
    """Decides for nodes; allows no other caller."""

    def __init__(self, graph: NodeGraph, rules: Sequence[PolicyRule]) -> None:
        """`rules` are those of the ClusterRole system:node, which hold for every node."""
        self._graph = graph
        self._rules = compiled(rules)
        read_needed = self._read_needed
        get_needed = self._get_needed
        self._special: dict[tuple[str, str], Callable[[str, Attributes], str]] = {
            ("", SECRETS): read_needed,
            ("", CONFIG_MAPS): read_needed,
            ("", CLAIMS): self._claim,
            ("", VOLUMES): self._volume,
            ("", SERVICE_ACCOUNTS): self._service_account,
            ("", PODS): self._pod,
            ("", "nodes"): self._node,
            ("resource.k8s.io", RESOURCE_CLAIMS): get_needed,
            ("resource.k8s.io", SLICES): self._slice,
            ("storage.k8s.io", ATTACHMENTS): get_needed,
            ("storage.k8s.io", "csinodes"): self._csi_node,
            ("coordination.k8s.io", "leases"): self._lease,
        }

    def serve(self, secrets: frozenset[Key], configs: frozenset[Key]) -> None:
        """Let every node read the Secrets and ConfigMaps that Gateways need, by namespace and name, and no others."""
        self._graph.serve(secrets, configs)

    def decide(self, caller: Caller, attributes: Attributes) -> Decision:
        """Return the decision for a node; not allowed, without a reason, for any other caller."""
        node = node_name(caller)
        if node is None:
            return Decision(allowed=False)
        if not node:
            return Decision(allowed=False, reason=f'unknown node for user "{caller.user}"')
        special = self._special.get((attributes.group, attributes.resource))
        if special is not None:
            refusal = special(node, attributes)
            return Decision(allowed=False, reason=refusal.strip()) if refusal else ALLOWED
        return Decision(allowed=allows(self._rules, asked(attributes)))

    # Each returns the reason of a denial; "": allowed, " ": denied without a reason.

    def _needed(self, node: str, attributes: Attributes) -> str:
        if not attributes.name:
            name = asked(attributes).name  # a list or watch of one object by a field selector
            if not name:
                return "No Object name found"
        else:
            name = attributes.name
        if self._graph.concerns(node, attributes.resource, attributes.namespace, name):
            return ""
        return f"no relationship found between node '{node}' and this object"

    def _read_needed(self, node: str, attributes: Attributes) -> str:
        if attributes.verb not in ("get", "list", "watch"):
            return "can only read resources of this type"
        if attributes.subresource:
            return "cannot read subresource"
        if not attributes.namespace:
            return "can only read namespaced object of this type"
        return self._needed(node, attributes)

    def _get_needed(self, node: str, attributes: Attributes) -> str:
        if attributes.verb != "get":
            return "can only get individual resources of this type"
        if attributes.subresource:
            return "cannot get subresource"
        return self._needed(node, attributes)

    def _claim(self, node: str, attributes: Attributes) -> str:
        """Beyond the kubelet's rights: watch by name the claims that it may get, to hear of their growth."""
        is_named = bool(attributes.namespace and asked(attributes).name)
        if attributes.verb in ("list", "watch") and is_named and not attributes.subresource:
            return self._needed(node, attributes)
        if attributes.subresource != "status":
            return self._get_needed(node, attributes)
        if attributes.verb not in ("update", "patch"):
            return "can only get/update/patch this type"
        return self._needed(node, attributes)

    def _volume(self, node: str, attributes: Attributes) -> str:
        """Beyond the kubelet's right to get the volumes of its pods: watch and patch those whose folders it keeps.

        NodeRestriction allows such a patch to remove one finalizer and nothing else.
        """
        if attributes.verb in ("list", "watch") and not attributes.subresource:
            if requires_label(attributes.label_selector, NODE_LABEL, node):
                return ""
            return f"can only list/watch persistentvolumes with label selector {NODE_LABEL}"
        if attributes.verb == "patch" and not attributes.subresource:
            if self._graph.concerns(node, FOLDERS, "", attributes.name):
                return ""
            return f"node '{node}' does not keep the folder of this volume"
        return self._get_needed(node, attributes)

    def _service_account(self, node: str, attributes: Attributes) -> str:
        if attributes.verb == "get" and not attributes.subresource:
            return self._read_needed(node, attributes)
        if attributes.verb != "create" or not attributes.name:
            return "can only create tokens for individual service accounts"
        if attributes.subresource != "token":
            return "can only create token subresource of serviceaccount"
        return self._needed(node, attributes)

    def _lease(self, node: str, attributes: Attributes) -> str:
        if attributes.verb not in OWN_VERBS:
            return "can only get, create, update, patch, or delete a node lease"
        if attributes.namespace != LEASE_NAMESPACE:
            return f'can only access leases in the "{LEASE_NAMESPACE}" system namespace'
        if attributes.verb != "create" and attributes.name != node:
            return "can only access node lease with the same name as the requesting node"
        return ""

    def _csi_node(self, node: str, attributes: Attributes) -> str:
        if attributes.verb not in OWN_VERBS:
            return "can only get, create, update, patch, or delete a CSINode"
        if attributes.subresource:
            return "cannot authorize CSINode subresources"
        if attributes.verb != "create" and attributes.name != node:
            return "can only access CSINode with the same name as the requesting node"
        return ""

    def _slice(self, node: str, attributes: Attributes) -> str:
        if attributes.subresource:
            return "cannot authorize ResourceSlice subresources"
        if attributes.verb == "create":
            return ""
        if attributes.verb in ("get", "update", "patch", "delete"):
            return self._needed(node, attributes)
        if required_values(attributes.field_selector).get("spec.nodeName") == node:
            return ""
        return "can only list/watch/deletecollection resourceslices with nodeName field selector"

    def _node(self, node: str, attributes: Attributes) -> str:
        if attributes.subresource == "status":
            return "" if attributes.verb in ("update", "patch") else " "
        if attributes.subresource:
            return " "
        if attributes.verb in ("create", "update", "patch"):
            return ""
        if attributes.verb not in ("get", "list", "watch"):
            return " "
        name = asked(attributes).name
        if not name:
            return f"node '{node}' cannot read all nodes, only its own Node object"
        return (
            "" if name == node else f"node '{node}' cannot read '{name}', only its own Node object"
        )

    def _pod(self, node: str, attributes: Attributes) -> str:
        verb = attributes.verb
        if attributes.subresource == "status":
            return "" if verb in ("update", "patch") else " "
        if attributes.subresource == "eviction":
            return "" if verb == "create" else " "
        if attributes.subresource:
            return " "
        if verb == "get":
            return self._get_needed(node, attributes)
        if verb in ("create", "delete"):
            return ""
        if verb not in ("list", "watch"):
            return " "
        if required_values(attributes.field_selector).get("spec.nodeName") == node:
            return ""
        if asked(attributes).name:
            return self._needed(node, attributes)
        return "can only list/watch pods with spec.nodeName field selector"


def _refers_alike(before: Pod, after: Pod) -> bool:
    return (
        before.spec == after.spec
        and (MIRROR in before.metadata.annotations) == (MIRROR in after.metadata.annotations)
        and before.status.resourceClaimStatuses == after.status.resourceClaimStatuses
        and before.status.extendedResourceClaimStatus == after.status.extendedResourceClaimStatus
    )
