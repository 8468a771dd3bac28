"""NodeRestriction: a node writes its own Node, Lease and CSINode, and the status of the pods bound to it.

The Node authorizer has decided by names; this plugin checks the content of the objects.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from msgspec import convert

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.caller import Attributes
from kubelite.api.auth.lookup import Lookup
from kubelite.api.auth.nodes import LEASE_NAMESPACE, NODE_USER, node_name
from kubelite.api.auth.pod_references import MIRROR
from kubelite.api.auth.signing import RequestInvalid
from kubelite.api.errors import NotFound
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.persistent_volumes import PersistentVolume, PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.storage import CSIDriver
from kubelite.api.machinery.local_volumes import FINALIZER, awaits_removal
from kubelite.api.machinery.node_flags import is_reserved
from kubelite.api.machinery.pod_claims import claim_names
from kubelite.api.registry.admission import certificates
from kubelite.api.registry.admission.refusal import forbidden, metadata
from kubelite.api.registry.admission.request import AdmissionRequest, Verb

NODE_SIGNERS = ("kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet")
WRITE_STATUS = "update pod status"
CLAIM_STATUS = frozenset(
    {"capacity", "conditions", "allocatedResources", "allocatedResourceStatuses"}
)


# The fields allowed in a mirror pod: those that its node fills without reading from the API.
LOCAL_VOLUMES = frozenset(
    {
        "awsElasticBlockStore",
        "azureDisk",
        "cephfs",
        "cinder",
        "downwardAPI",
        "emptyDir",
        "fc",
        "flexVolume",
        "flocker",
        "gcePersistentDisk",
        "gitRepo",
        "hostPath",
        "image",
        "iscsi",
        "nfs",
        "photonPersistentDisk",
        "portworxVolume",
        "quobyte",
        "rbd",
        "scaleIO",
        "storageos",
        "vsphereVolume",
    }
)
LOCAL_PROJECTIONS = frozenset({"downwardAPI"})
VARIABLE_SOURCES = frozenset({"fieldRef", "fileKeyRef", "resourceFieldRef"})
ENVIRONMENT_SETTINGS = frozenset({"prefix"})
# The names of all other fields in rejections.
VOLUME_REFERENCES = {
    "azureFile": "secrets (via azureFile volumes)",
    "configMap": "configmaps (via configmap volumes)",
    "csi": "csidrivers (via CSI volumes)",
    "ephemeral": "persistentvolumeclaims (via ephemeral volumes)",
    "glusterfs": "endpoints (via glusterFS volumes)",
    "persistentVolumeClaim": "persistentvolumeclaims",
    "secret": "secrets (via secret volumes)",
}
PROJECTION_REFERENCES = {
    "clusterTrustBundle": "clustertrustbundles",
    "configMap": "configmaps (via projected volumes)",
    "podCertificate": "podcertificates",
    "secret": "secrets (via projected volumes)",
    "serviceAccountToken": "serviceaccounts (via projected volumes)",
}
ENVIRONMENT_REFERENCES = {
    "configMapKeyRef": "configmaps",
    "configMapRef": "configmaps",
    "secretKeyRef": "secrets",
    "secretRef": "secrets",
}


class NodeRestriction:
    """Rejects writes that a node may not make."""

    name: ClassVar = "NodeRestriction"

    def __init__(self, lookup: Lookup, authorizer: UnionAuthorizer) -> None:
        self._lookup = lookup
        self._authorizer = authorizer
        self._checks = {
            ("", "pods"): self._pod,
            ("", "nodes"): self._node,
            ("", "persistentvolumeclaims"): self._claim,
            ("", "persistentvolumes"): self._volume,
            ("", "serviceaccounts"): self._token,
            ("coordination.k8s.io", "leases"): self._lease,
            ("storage.k8s.io", "csinodes"): self._csi_node,
            ("resource.k8s.io", "resourceslices"): self._slice,
            (certificates.GROUP, "certificatesigningrequests"): self._signing_request,
        }

    async def mutate(self, request: AdmissionRequest) -> None:
        """Check a node's write before other plugins change it; raises Forbidden or NotFound."""
        node = node_name(request.caller)
        if node is None:
            return
        if not node:
            raise forbidden(request, f'could not determine node from user "{request.caller.user}"')
        check = self._checks.get((request.resource.group, request.resource.plural))
        if check is not None and (refusal := check(node, request)):
            raise forbidden(request, refusal)

    def _pod(self, node: str, request: AdmissionRequest) -> str:
        subresource, operation = request.attributes.subresource, request.operation
        if subresource == "status":
            return self._pod_status(node, request)
        if subresource == "eviction":
            if self._existing_pod(request).spec.nodeName != node:
                return f"node {node} can only evict pods with spec.nodeName set to itself"
            return ""
        if subresource:
            return f"unexpected pod subresource \"{subresource}\", only 'status' and 'eviction' are allowed"
        if operation is Verb.CREATE:
            return self._mirror_pod(node, request.object or {})
        if operation is Verb.DELETE:
            if self._existing_pod(request).spec.nodeName != node:
                return f'node "{node}" can only delete pods with spec.nodeName set to itself'
            return ""
        return f'unexpected operation "{operation.value}", node "{node}" can only create and delete mirror pods'

    def _mirror_pod(self, node: str, pod: Mapping[str, Any]) -> str:
        meta, pod_spec = pod.get("metadata") or {}, pod.get("spec") or {}
        if MIRROR not in (meta.get("annotations") or {}):
            return f'pod does not have "{MIRROR}" annotation, node "{node}" can only create mirror pods'
        if pod_spec.get("nodeName") != node:
            return f'node "{node}" can only create pods with spec.nodeName set to itself'
        if refusal := self._mirror_owner(node, meta.get("ownerReferences") or []):
            return refusal
        if found := api_reference(pod_spec):
            return f'node "{node}" can not create pods that reference {found}'
        return ""

    def _mirror_owner(self, node: str, owners: list[dict[str, Any]]) -> str:
        if len(owners) > 1:
            return f'node "{node}" can only create pods with a single owner reference set to itself'
        owner = owners[0] if owners else {}
        if (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) != ("v1", "Node", node):
            return f'node "{node}" can only create pods with an owner reference set to itself'
        if not owner.get("controller"):
            return f'node "{node}" can only create pods with a controller owner reference set to itself'
        if owner.get("blockOwnerDeletion"):
            return f'node "{node}" must not set blockOwnerDeletion on an owner reference'
        found = self._lookup.get(Node, node)
        if found is None:
            raise NotFound(f'nodes "{node}" not found', kind="nodes", name=node)
        if owner.get("uid") != found.metadata.uid:
            return f"node {node} UID mismatch: expected {owner.get('uid')} got {found.metadata.uid}"
        return ""

    def _pod_status(self, node: str, request: AdmissionRequest) -> str:
        if request.operation is not Verb.UPDATE or request.old is None or request.object is None:
            return f'unexpected operation "{request.operation.value}"'
        old, new = request.old, request.object
        if (old.get("spec") or {}).get("nodeName") != node:
            return (
                f'node "{node}" can only {WRITE_STATUS} for pods with spec.nodeName set to itself'
            )
        if (metadata(old).get("labels") or {}) != (metadata(new).get("labels") or {}):
            return f'node "{node}" cannot update labels through pod status'
        before, after = old.get("status") or {}, new.get("status") or {}
        if (before.get("resourceClaimStatuses") or []) != (
            after.get("resourceClaimStatuses") or []
        ):
            return f'node "{node}" cannot update resource claim statues'
        if before.get("extendedResourceClaimStatus") != after.get("extendedResourceClaimStatus"):
            return f'node "{node}" cannot update extended resource claim status'
        return ""

    def _existing_pod(self, request: AdmissionRequest) -> Pod:
        name, namespace = request.attributes.name, request.attributes.namespace
        pod = self._lookup.get(Pod, name, namespace)
        if pod is None:
            raise NotFound(f'pods "{name}" not found', kind="pods", name=name)
        return pod

    def _node(self, node: str, request: AdmissionRequest) -> str:
        name = request.attributes.name or metadata(request.object or {}).get("name", "")
        if name != node:
            return f'node "{node}" is not allowed to modify node "{name}"'
        new, old = request.object or {}, request.old or {}
        changed = changed_labels(new, old)
        source, before = ((item.get("spec") or {}).get("configSource") for item in (new, old))
        if request.operation is Verb.CREATE:
            if source is not None:
                return f'node "{node}" is not allowed to create pods with a non-nil configSource'
            if labels := forbidden_labels(changed):
                return (
                    f'node "{node}" is not allowed to set the following labels: {", ".join(labels)}'
                )
            return ""
        if request.operation is not Verb.UPDATE:
            return ""
        if source is not None and source != before:
            return (
                f'node "{node}" is not allowed to update configSource to a new non-nil configSource'
            )
        if ((new.get("spec") or {}).get("taints") or []) != (
            (old.get("spec") or {}).get("taints") or []
        ):
            return f'node "{node}" is not allowed to modify taints'
        if (metadata(new).get("ownerReferences") or []) != (
            metadata(old).get("ownerReferences") or []
        ):
            return f'node "{node}" is not allowed to modify ownerReferences'
        if labels := forbidden_labels(changed):
            return f"is not allowed to modify labels: {', '.join(labels)}"
        return ""

    def _claim(self, node: str, request: AdmissionRequest) -> str:
        if request.attributes.subresource != "status":
            return "may only update PVC status"
        old, new = (_without_claim_status(item or {}) for item in (request.old, request.object))
        if old != new:
            return f'node "{node}" is not allowed to update fields other than status.quantity and status.conditions'
        return ""

    def _volume(self, node: str, request: AdmissionRequest) -> str:
        """Let the node that keeps a volume's folder report that it removed it, once the volume is deleted."""
        if request.operation is not Verb.UPDATE or request.attributes.subresource:
            return "may only update persistent volumes whose folders it keeps"
        old, new = request.old or {}, request.object or {}
        if not awaits_removal(convert(old, PersistentVolume), node):
            return f'node "{node}" has no folder of this volume to remove'
        if _without_finalizer(old) != _without_finalizer(new):
            return f'node "{node}" is not allowed to update anything but the finalizer {FINALIZER}'
        return ""

    def _token(self, node: str, request: AdmissionRequest) -> str:
        if request.operation is not Verb.CREATE or request.attributes.subresource != "token":
            return ""
        wanted = (request.object or {}).get("spec") or {}
        ref = wanted.get("boundObjectRef") or {}
        if (ref.get("apiVersion"), ref.get("kind")) != ("v1", "Pod") or not ref.get("name"):
            return "node requested token not bound to a pod"
        if not ref.get("uid"):
            return "node requested token with a pod binding without a uid"
        name = ref["name"]
        pod = self._lookup.get(Pod, name, request.attributes.namespace)
        if pod is None:
            raise NotFound(f'pods "{name}" not found', kind="pods", name=name)
        if ref["uid"] != pod.metadata.uid:
            return (
                f"the UID in the bound object reference ({ref['uid']}) does not match the UID in record. The object "
                "might have been deleted and then recreated"
            )
        if pod.spec.nodeName != node:
            return "node requested token bound to a pod scheduled on a different node"
        return self._audience(request, pod, wanted.get("audiences") or [])

    def _audience(self, request: AdmissionRequest, pod: Pod, audiences: list[str]) -> str:
        if len(audiences) > 1:
            return "node may only request 0 or 1 audiences"
        audience = audiences[0] if audiences else ""
        if audience in _mounted_audiences(pod) or audience in self._driver_audiences(pod):
            return ""
        attributes = request.attributes
        right = Attributes(
            "request-serviceaccounts-token-audience",
            "",
            "v1",
            audience,
            "",
            attributes.namespace,
            attributes.name,
        )
        if audience and self._authorizer.decide(request.caller, right).allowed:
            return ""
        return (
            f'audience "{audience}" not found in pod spec volume, {request.caller.user} is not authorized to request '
            "tokens for this audience"
        )

    def _driver_audiences(self, pod: Pod) -> set[str]:
        """Return the audiences of the tokens that the drivers of a pod's CSI volumes are given."""
        names = {volume.csi.driver for volume in pod.spec.volumes if volume.csi is not None}
        for name, _ in claim_names(pod):
            claim = self._lookup.get(PersistentVolumeClaim, name, pod.metadata.namespace)
            bound_to = claim.spec.volumeName if claim is not None else ""
            volume = self._lookup.get(PersistentVolume, bound_to) if bound_to else None
            if volume is not None and volume.spec.csi is not None:
                names.add(volume.spec.csi.driver)
        drivers = [self._lookup.get(CSIDriver, name) for name in sorted(names)]
        requests = [one.spec.tokenRequests for one in drivers if one is not None]
        return {request.audience for several in requests for request in several}

    def _lease(self, node: str, request: AdmissionRequest) -> str:
        if request.attributes.namespace != LEASE_NAMESPACE:
            return f'can only access leases in the "{LEASE_NAMESPACE}" system namespace'
        return _same_name(
            node, request, "can only access node lease with the same name as the requesting node"
        )

    def _csi_node(self, node: str, request: AdmissionRequest) -> str:
        return _same_name(
            node, request, "can only access CSINode with the same name as the requesting node"
        )

    def _signing_request(self, node: str, request: AdmissionRequest) -> str:
        """Reject requests for certificates of other nodes before they reach an approver."""
        spec = (request.object or {}).get("spec") or {}
        if request.operation is not Verb.CREATE or spec.get("signerName") not in NODE_SIGNERS:
            return ""
        try:
            name = certificates.read_spec(spec).wanted.common_name
        except RequestInvalid as error:
            return f"unable to parse csr: {error}"
        user = f"{NODE_USER}{node}"
        return "" if name == user else f"can only create a node CSR with CN={user}"

    def _slice(self, node: str, request: AdmissionRequest) -> str:
        for item in (request.object, request.old):
            if item is not None and (item.get("spec") or {}).get("nodeName") != node:
                return "can only create, update or delete ResourceSlice with the same NodeName as the requesting node"
        return ""


def changed_labels(new: Mapping[str, Any], old: Mapping[str, Any]) -> list[str]:
    """Return the labels that differ between two states of an object."""
    after, before = ((item.get("metadata") or {}).get("labels") or {} for item in (new, old))
    return sorted(key for key in {*after, *before} if after.get(key) != before.get(key))


def forbidden_labels(labels: list[str]) -> list[str]:
    """Return the labels that a node may not change on its own Node."""
    return [label for label in labels if is_reserved(label)]


def api_reference(pod: Mapping[str, Any]) -> str:
    """Return the first API resource that a pod's spec may refer to, or ""; a mirror pod must refer to none.

    An unknown field counts (fail closed): a volume, projection or variable source is returned by its field's name
    unless it is listed as one that the node fills without the API.
    """
    if pod.get("serviceAccountName") or pod.get("serviceAccount"):
        return "serviceaccounts"
    if pod.get("imagePullSecrets"):
        return "secrets"
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container in pod.get(field) or []:
            for source in container.get("envFrom") or []:
                if found := _unlisted(source, ENVIRONMENT_SETTINGS, ENVIRONMENT_REFERENCES):
                    return found
            for variable in container.get("env") or []:
                source = variable.get("valueFrom") or {}
                if found := _unlisted(source, VARIABLE_SOURCES, ENVIRONMENT_REFERENCES):
                    return found
    if pod.get("resourceClaims"):
        return "resourceclaims"
    return next(filter(None, map(_volume_reference, pod.get("volumes") or [])), "")


def _volume_reference(volume: Mapping[str, Any]) -> str:
    if found := _unlisted(volume, LOCAL_VOLUMES | {"name", "projected"}, VOLUME_REFERENCES):
        return found
    for projection in (volume.get("projected") or {}).get("sources") or []:
        if found := _unlisted(projection, LOCAL_PROJECTIONS, PROJECTION_REFERENCES):
            return found
    for source in volume.values():
        if isinstance(source, Mapping) and any(
            field.lower().endswith("secretref") for field in source
        ):
            return "secrets"
    return ""


def _unlisted(
    source: Mapping[str, Any], harmless: frozenset[str], references: Mapping[str, str]
) -> str:
    """Return the reference of the first field that is set and not in `harmless`; "": there is none."""
    for field, value in source.items():
        if value is not None and field not in harmless:
            return references.get(field, f"objects of an unknown type (via {field})")
    return ""


def _same_name(node: str, request: AdmissionRequest, refusal: str) -> str:
    name = request.attributes.name or metadata(request.object or {}).get("name", "")
    return "" if name == node else refusal


def _mounted_audiences(pod: Pod) -> set[str]:
    sources = [
        source
        for volume in pod.spec.volumes
        if volume.projected
        for source in volume.projected.sources
    ]
    return {source.serviceAccountToken.audience for source in sources if source.serviceAccountToken}


def _without_finalizer(volume: Mapping[str, Any]) -> dict[str, Any]:
    """Return a volume without what the removal of a folder's finalizer changes."""
    meta = dict(metadata(dict(volume)))
    finalizers = [name for name in meta.get("finalizers") or [] if name != FINALIZER]
    for field in ("resourceVersion", "managedFields", "finalizers"):
        meta.pop(field, None)
    return {**volume, "metadata": {**meta, "finalizers": finalizers}}


def _without_claim_status(claim: Mapping[str, Any]) -> dict[str, Any]:
    meta = {
        k: v
        for k, v in metadata(dict(claim)).items()
        if k not in ("resourceVersion", "managedFields")
    }
    status = {k: v for k, v in (claim.get("status") or {}).items() if k not in CLAIM_STATUS}
    return {**claim, "metadata": meta, "status": status}
