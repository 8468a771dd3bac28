"""Static pods: pods that a node runs from its manifest folder, without any API server; and their mirror pods. Pure.

The API shows a static pod as a mirror pod: a copy with annotations of its own, which nobody but the node writes. The
hash of its manifest is the uid of a static pod, so a changed manifest is another pod. As in upstream.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.meta import OwnerReference

SOURCE = "kubernetes.io/config.source"
HASH = "kubernetes.io/config.hash"
SEEN = "kubernetes.io/config.seen"
MIRROR = "kubernetes.io/config.mirror"
FROM_FILE = "file"
NO_EXECUTE = {"operator": "Exists", "effect": "NoExecute"}


class InvalidManifest(ValueError):
    """A manifest cannot be made a static pod; `str()` is the reason."""


def mark_static(body: Any, file: str, node_name: str, seen: str) -> dict[str, Any]:
    """Return the body of a static pod for the manifest of a file; raises InvalidManifest.

    The uid is a hash of content, node and file. `seen` is the date that the annotation of that name gets.
    """
    if not isinstance(body, dict) or body.get("kind") != "Pod" or body.get("apiVersion") != "v1":
        raise InvalidManifest("couldn't parse as pod: its kind is not Pod of v1")
    metadata, spec = body.get("metadata"), body.get("spec")
    if not isinstance(metadata, dict) or not metadata.get("name"):
        raise InvalidManifest("invalid pod: name is needed for the pod")
    annotations = metadata.get("annotations") or {}
    if not isinstance(spec, dict) or not isinstance(annotations, dict):
        raise InvalidManifest("couldn't parse as pod: spec and annotations are maps")
    if not isinstance(metadata["name"], str):
        raise InvalidManifest("couldn't parse as pod: name is a text")
    uid = _hash(body, file, node_name)
    annotations = {key: text for key, text in annotations.items() if key != MIRROR}
    marks = {HASH: uid, SOURCE: FROM_FILE, SEEN: seen}
    tolerations = spec.get("tolerations") or []
    if isinstance(tolerations, list) and NO_EXECUTE not in tolerations:
        tolerations = [*tolerations, NO_EXECUTE]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **{key: metadata[key] for key in ("labels", "finalizers") if key in metadata},
            "name": f"{metadata['name']}-{node_name.lower()}",
            "namespace": metadata.get("namespace") or "default",
            "uid": uid,
            "annotations": {**annotations, **marks},
        },
        "spec": {**spec, "nodeName": node_name, "tolerations": tolerations},
    }


def _hash(body: Mapping[str, Any], file: str, node_name: str) -> str:
    text = msgspec.json.encode([body, node_name, file], order="deterministic")
    return hashlib.blake2s(text, digest_size=16).hexdigest()


def is_static(pod: Pod) -> bool:
    """Return whether a pod comes from a manifest of this node; a mirror pod does not.

    Anybody may give a pod of the API such annotations; but it has a resource version, which a manifest never has.
    """
    annotations = pod.metadata.annotations
    is_of_api = bool(pod.metadata.resourceVersion) or MIRROR in annotations
    return annotations.get(SOURCE) == FROM_FILE and not is_of_api


def is_mirror(pod: Pod) -> bool:
    """Return whether a pod of the API shows a static pod."""
    return MIRROR in pod.metadata.annotations


def mirrors(mirror: Pod, pod: Pod) -> bool:
    """Return whether a mirror pod shows this version of a static pod, and is not being deleted."""
    shown = mirror.metadata.annotations.get(MIRROR)
    return mirror.metadata.deletionTimestamp is None and shown == pod.metadata.uid


def mirror_of(pod: Pod, node_uid: str) -> Pod:
    """Return the mirror pod to create for a static pod; its owner is the Node, as NodeRestriction demands it."""
    name = pod.spec.nodeName
    owner = OwnerReference(apiVersion="v1", kind="Node", name=name, uid=node_uid, controller=True)
    annotations = {**pod.metadata.annotations, MIRROR: pod.metadata.uid}
    metadata = replace(pod.metadata, uid="", annotations=annotations, ownerReferences=[owner])
    return Pod(metadata=metadata, spec=pod.spec)
