import base64
from typing import Any

import pytest
from msgspec import convert

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.caller import Caller
from kubelite.api.auth.certificates import Wanted, new_key, signing_request
from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.auth.rbac import RBAC
from kubelite.api.kinds.core.containers import EnvFromSource, EnvVarSource
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.persistent_volumes import PersistentVolume, PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.volumes import Volume, VolumeProjection
from kubelite.api.kinds.storage import CSIDriver
from kubelite.api.machinery.local_volumes import (
    FINALIZER,
    IN_USE,
    NODE_LABEL,
    PROVISIONED_BY,
    PROVISIONER_NAME,
)
from kubelite.api.registry.admission.node_restriction import (
    NodeRestriction,
    api_reference,
    forbidden_labels,
)

NODE = Caller("system:node:one", ("system:nodes",))


def stored(name: str, node: str) -> Pod:
    meta = {"name": name, "namespace": "shop", "uid": f"uid-{name}"}
    return convert({"metadata": meta, "spec": {"nodeName": node}}, Pod)


LOOKUP = FixedLookup(
    [
        stored("mine", "one"),
        stored("theirs", "two"),
        convert({"metadata": {"name": "one", "uid": "n1"}}, Node),
    ]
)
PLUGIN = NodeRestriction(LOOKUP, UnionAuthorizer(RBAC(LOOKUP)))
OWNER = {"apiVersion": "v1", "kind": "Node", "name": "one", "uid": "n1", "controller": True}
MIRROR = {
    "metadata": {
        "name": "m",
        "annotations": {"kubernetes.io/config.mirror": "x"},
        "ownerReferences": [OWNER],
    },
    "spec": {"nodeName": "one", "containers": []},
}


def changed(**changes: Any) -> dict[str, Any]:
    meta = {**MIRROR["metadata"], **changes.pop("metadata", {})}  # type: ignore[dict-item]  # it is a dict
    return {"metadata": meta, "spec": {**MIRROR["spec"], **changes}}  # type: ignore[dict-item]  # it is a dict


def on_node(node: str, **meta: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", **meta}, "spec": {"nodeName": node}}


@pytest.mark.parametrize(
    ("path", "item", "old", "reason"),
    [
        ("pods", MIRROR, None, ""),
        ("pods", changed(metadata={"annotations": {}}), None, "can only create mirror pods"),
        (
            "pods",
            changed(nodeName="two"),
            None,
            "can only create pods with spec.nodeName set to itself",
        ),
        (
            "pods",
            changed(metadata={"ownerReferences": []}),
            None,
            "with an owner reference set to itself",
        ),
        (
            "pods",
            changed(metadata={"ownerReferences": [OWNER, OWNER]}),
            None,
            "a single owner reference",
        ),
        (
            "pods",
            changed(metadata={"ownerReferences": [OWNER | {"uid": "x"}]}),
            None,
            "UID mismatch",
        ),
        (
            "pods",
            changed(metadata={"ownerReferences": [OWNER | {"controller": False}]}),
            None,
            "a controller owner",
        ),
        (
            "pods",
            changed(serviceAccountName="web"),
            None,
            "can not create pods that reference serviceaccounts",
        ),
        (
            "pods",
            changed(volumes=[{"name": "v", "secret": {}}]),
            None,
            "can not create pods that reference secrets",
        ),
        ("pods", on_node("one"), on_node("one"), "can only create and delete mirror pods"),
        ("pods/status", on_node("one"), on_node("one"), ""),
        ("pods/status", on_node("two"), on_node("two"), "can only update pod status for pods with"),
        (
            "pods/status",
            on_node("one", labels={"a": "b"}),
            on_node("one"),
            "cannot update labels through pod status",
        ),
        ("nodes", {"metadata": {"name": "one"}}, None, ""),
        ("nodes", {"metadata": {"name": "two"}}, None, 'is not allowed to modify node "two"'),
        (
            "nodes",
            {"metadata": {"name": "one", "labels": {"node-role.kubernetes.io/x": ""}}},
            None,
            "not allowed to set the following labels",
        ),
        (
            "nodes",
            {"metadata": {"name": "one"}, "spec": {"taints": [{}]}},
            {"metadata": {"name": "one"}},
            "not allowed to modify taints",
        ),
        (
            "nodes",
            {"metadata": {"name": "one", "ownerReferences": [OWNER]}},
            {"metadata": {"name": "one"}},
            "not allowed to modify ownerReferences",
        ),
        (
            "nodes",
            {
                "metadata": {
                    "name": "one",
                    "labels": {
                        "kubernetes.io/hostname": "one",
                        "node.kubernetes.io/pool": "a",
                        "topology.kubernetes.io/zone": "z",
                        "example.com/rack": "7",
                    },
                },
                "spec": {"taints": [{"key": "gpu", "effect": "NoSchedule"}]},
            },
            None,
            "",
        ),
        (
            "nodes",
            {
                "metadata": {
                    "name": "one",
                    "labels": {
                        "node-restriction.kubernetes.io/x": "",
                        "x.k8s.io/a": "",
                        "a": "b",
                    },
                }
            },
            None,
            "following labels: node-restriction.kubernetes.io/x, x.k8s.io/a",
        ),
        (
            "nodes",
            {"metadata": {"name": "one"}, "spec": {"configSource": {"configMap": {}}}},
            None,
            "is not allowed to create pods with a non-nil configSource",
        ),
        (
            "nodes",
            {"metadata": {"name": "one"}, "spec": {"configSource": {"configMap": {}}}},
            {"metadata": {"name": "one"}},
            "is not allowed to update configSource to a new non-nil configSource",
        ),
        (
            "leases.coordination.k8s.io",
            {"metadata": {"name": "one"}},
            None,
            "can only access leases in the",
        ),
        (
            "csinodes.storage.k8s.io",
            {"metadata": {"name": "two"}},
            None,
            "can only access CSINode with the same name",
        ),
        ("persistentvolumeclaims", {}, {}, "may only update PVC status"),
        ("persistentvolumeclaims/status", {"status": {"capacity": {}}}, {"status": {}}, ""),
        (
            "persistentvolumeclaims/status",
            {"status": {"phase": "x"}},
            {"status": {}},
            "is not allowed to update fields other",
        ),
        ("configmaps", {}, None, ""),
    ],
)
async def test_writes_of_a_node(
    ask: Any, path: str, item: dict[str, Any], old: dict[str, Any] | None, reason: str
) -> None:
    if old is not None:
        old.setdefault("metadata", {})
    asked = await ask(PLUGIN, path, item, old=old, caller=NODE)
    if reason:
        assert reason in asked.refusal
    else:
        assert asked.error is None


async def test_deletions_and_evictions(ask: Any) -> None:
    mine, theirs = ({"metadata": {"name": name}} for name in ("mine", "theirs"))
    assert (await ask(PLUGIN, "pods", old=mine, caller=NODE)).error is None
    assert (
        "can only delete pods with" in (await ask(PLUGIN, "pods", old=theirs, caller=NODE)).refusal
    )
    assert (await ask(PLUGIN, "pods/eviction", mine, caller=NODE)).error is None
    assert (
        "can only evict pods with"
        in (await ask(PLUGIN, "pods/eviction", theirs, caller=NODE)).refusal
    )


@pytest.mark.parametrize("path", ["leases.coordination.k8s.io", "csinodes.storage.k8s.io"])
@pytest.mark.parametrize("operation", ["create", "update", "delete"])
@pytest.mark.parametrize(
    ("meta", "name", "refused"),
    [
        ({"name": "one"}, "one", False),
        ({"name": "one"}, "", False),
        ({"name": "two"}, "two", True),
        ({"name": "two"}, "", True),
        ({"name": "one"}, "two", True),  # the path decides
        ({"generateName": "one"}, "", True),
    ],
)
async def test_leases_of_its_own(
    ask: Any, path: str, operation: str, meta: dict[str, str], name: str, refused: bool
) -> None:
    item = {"metadata": meta}
    new, old = (None if operation == one else item for one in ("delete", "create"))
    asked = await ask(
        PLUGIN, path, new, old=old, name=name, namespace="kube-node-lease", caller=NODE
    )
    assert (asked.error is not None) is refused
    if asked.error is not None:
        assert "with the same name as the requesting node" in asked.refusal


async def test_leases_elsewhere(ask: Any) -> None:
    item = {"metadata": {"name": "one"}}
    asked = await ask(PLUGIN, "leases.coordination.k8s.io", item, namespace="shop", caller=NODE)
    assert 'can only access leases in the "kube-node-lease" system namespace' in asked.refusal


@pytest.mark.parametrize("signer", ["kubelet-serving", "kube-apiserver-client-kubelet"])
@pytest.mark.parametrize(
    ("common_name", "reason"),
    [
        ("system:node:one", ""),
        ("system:node:two", "can only create a node CSR with CN=system:node:one"),
        ("kube-apiserver-kubelet-client", "can only create a node CSR with CN=system:node:one"),
        ("", "unable to parse csr"),
    ],
)
async def test_signing_requests_for_itself_alone(
    ask: Any, signer: str, common_name: str, reason: str
) -> None:
    wanted = Wanted(common_name, ("system:nodes",), ("one",), ("192.0.2.1",))
    pem = signing_request(new_key(), wanted) if common_name else b"noise"
    body = {
        "metadata": {"name": "a"},
        "spec": {
            "signerName": f"kubernetes.io/{signer}",
            "request": base64.b64encode(pem).decode(),
        },
    }
    path = "certificatesigningrequests.certificates.k8s.io"
    asked = await ask(PLUGIN, path, body, namespace="", caller=NODE)
    assert (asked.error is not None) is bool(reason)
    if reason:
        assert reason in asked.refusal
    body["spec"] = {"signerName": "example.com/any", "request": "!"}
    assert (await ask(PLUGIN, path, body, namespace="", caller=NODE)).error is None


@pytest.mark.parametrize(
    ("ref", "audiences", "reason"),
    [
        (
            {"kind": "Pod", "apiVersion": "v1", "name": "mine", "uid": "uid-mine"},
            ["vault"],
            'audience "vault" not found in pod spec volume',
        ),
        (
            {"kind": "Pod", "apiVersion": "v1", "name": "theirs", "uid": "uid-theirs"},
            [],
            "bound to a pod scheduled on a different node",
        ),
        (
            {"kind": "Pod", "apiVersion": "v1", "name": "mine", "uid": "x"},
            [],
            "does not match the UID in record",
        ),
        ({"kind": "Pod", "apiVersion": "v1", "name": "mine"}, [], "a pod binding without a uid"),
        (
            {"kind": "Secret", "apiVersion": "v1", "name": "mine"},
            [],
            "node requested token not bound to a pod",
        ),
        (None, [], "node requested token not bound to a pod"),
    ],
)
async def test_tokens(ask: Any, ref: Any, audiences: list[str], reason: str) -> None:
    body = {"spec": {"boundObjectRef": ref, "audiences": audiences}}
    assert (
        reason
        in (await ask(PLUGIN, "serviceaccounts/token", body, name="web", caller=NODE)).refusal
    )


async def test_token_that_the_pod_mounts(ask: Any) -> None:
    source = {"serviceAccountToken": {"path": "t", "audience": "vault"}}
    spec = {"nodeName": "one", "volumes": [{"name": "v", "projected": {"sources": [source]}}]}
    lookup = FixedLookup(
        [convert({"metadata": {"name": "m", "namespace": "shop", "uid": "u"}, "spec": spec}, Pod)]
    )
    plugin = NodeRestriction(lookup, UnionAuthorizer(RBAC(lookup)))
    ref = {"kind": "Pod", "apiVersion": "v1", "name": "m", "uid": "u"}
    body = {"spec": {"boundObjectRef": ref, "audiences": ["vault"]}}
    assert (await ask(plugin, "serviceaccounts/token", body, name="web", caller=NODE)).error is None


@pytest.mark.parametrize(
    ("source", "audience", "is_allowed"),
    [
        ({"csi": {"driver": "d.example.com"}}, "vault", True),
        ({"persistentVolumeClaim": {"claimName": "data"}}, "vault", True),
        ({"csi": {"driver": "d.example.com"}}, "other", False),
        ({"csi": {"driver": "e.example.com"}}, "vault", False),
        ({"persistentVolumeClaim": {"claimName": "none"}}, "vault", False),
    ],
)
async def test_token_that_the_driver_of_a_volume_is_given(
    ask: Any, source: dict[str, Any], audience: str, is_allowed: bool
) -> None:
    spec = {"nodeName": "one", "volumes": [{"name": "v", **source}]}
    csi = {"driver": "d.example.com", "volumeHandle": "h"}
    lookup = FixedLookup(
        [
            convert(
                {"metadata": {"name": "m", "namespace": "shop", "uid": "u"}, "spec": spec}, Pod
            ),
            convert(
                {
                    "metadata": {"name": "d.example.com"},
                    "spec": {"tokenRequests": [{"audience": "vault"}]},
                },
                CSIDriver,
            ),
            convert(
                {
                    "metadata": {"name": "data", "namespace": "shop"},
                    "spec": {"volumeName": "pv-1"},
                },
                PersistentVolumeClaim,
            ),
            convert({"metadata": {"name": "pv-1"}, "spec": {"csi": csi}}, PersistentVolume),
        ]
    )
    plugin = NodeRestriction(lookup, UnionAuthorizer(RBAC(lookup)))
    ref = {"kind": "Pod", "apiVersion": "v1", "name": "m", "uid": "u"}
    body = {"spec": {"boundObjectRef": ref, "audiences": [audience]}}
    asked = await ask(plugin, "serviceaccounts/token", body, name="web", caller=NODE)
    assert (asked.error is None) is is_allowed


async def test_others_are_not_asked(ask: Any) -> None:
    assert (await ask(PLUGIN, "pods", changed(nodeName="two"))).error is None


def test_labels() -> None:
    labels = [
        "mine",
        "example.com/x",
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
        "node.kubernetes.io/x",
    ]
    assert forbidden_labels(labels) == []
    bad = [
        "node-restriction.kubernetes.io/x",
        "foo.node-restriction.kubernetes.io/x",
        "kubernetes.io/x",
        "a.k8s.io/x",
    ]
    assert forbidden_labels(bad) == bad


LOCAL = {
    "awsElasticBlockStore", "azureDisk", "cephfs", "cinder", "downwardAPI", "emptyDir", "fc", "flexVolume", "flocker",
    "gcePersistentDisk", "gitRepo", "hostPath", "image", "iscsi", "nfs", "photonPersistentDisk", "portworxVolume",
    "quobyte", "rbd", "scaleIO", "storageos", "vsphereVolume",
}  # fmt: skip


def references_of_mirror_pods() -> list[tuple[str, dict[str, Any], bool]]:
    """Return a spec for each volume, projection and source of variables there is, and whether it is harmless."""
    found: list[tuple[str, dict[str, Any], bool]] = [
        (field, {"volumes": [{"name": "v", field: {}}]}, field in LOCAL)
        for field in set(Volume.__struct_fields__) - {"name", "projected"}
    ]
    for field in VolumeProjection.__struct_fields__:
        volume = {"name": "v", "projected": {"sources": [{"downwardAPI": {}}, {field: {}}]}}
        found.append((f"projected.{field}", {"volumes": [volume]}, field == "downwardAPI"))
    for place in ("containers", "initContainers", "ephemeralContainers"):
        for field in EnvVarSource.__struct_fields__:
            harmless = field in ("fieldRef", "fileKeyRef", "resourceFieldRef")
            container = {
                "env": [{"name": "A", "value": "b"}, {"name": "X", "valueFrom": {field: {}}}]
            }
            found.append((f"{place}.env.{field}", {place: [container]}, harmless))
        for field in set(EnvFromSource.__struct_fields__) - {"prefix"}:
            source = {"prefix": "A", field: {}}
            found.append((f"{place}.envFrom.{field}", {place: [{"envFrom": [source]}]}, False))
    return sorted(found, key=lambda entry: entry[0])


@pytest.mark.parametrize(("name", "spec", "harmless"), references_of_mirror_pods())
async def test_a_mirror_pod_has_only_what_its_node_fills_alone(
    ask: Any, name: str, spec: dict[str, Any], harmless: bool
) -> None:
    asked = await ask(PLUGIN, "pods", changed(**spec), caller=NODE)
    if harmless:
        assert asked.error is None, name
    else:
        assert 'node "one" can not create pods that reference ' in asked.refusal, name


@pytest.mark.parametrize(
    ("volume", "resource"),
    [
        ({"csi": {"driver": "d"}}, "csidrivers (via CSI volumes)"),
        ({"azureFile": {"secretName": "s"}}, "secrets (via azureFile volumes)"),
        ({"projected": {"sources": [{"clusterTrustBundle": {}}]}}, "clustertrustbundles"),
        ({"projected": {"sources": [{"podCertificate": {}}]}}, "podcertificates"),
        ({"iscsi": {"secretRef": {"name": "s"}}}, "secrets"),
        ({"ofTomorrow": {}}, "objects of an unknown type (via ofTomorrow)"),
    ],
)
def test_a_refused_reference_is_named(volume: dict[str, Any], resource: str) -> None:
    assert api_reference({"volumes": [{"name": "v", **volume}]}) == resource


def test_a_mirror_pod_names_no_account_by_the_old_field_either() -> None:
    assert api_reference({"serviceAccount": "web"}) == "serviceaccounts"
    assert api_reference({"resourceClaims": [{"name": "c"}]}) == "resourceclaims"


def going_volume(**metadata: Any) -> dict[str, Any]:
    meta = {
        "name": "pvc-1",
        "labels": {NODE_LABEL: "one"},
        "annotations": {PROVISIONED_BY: PROVISIONER_NAME},
        "finalizers": [FINALIZER, "example.com/other"],
        "deletionTimestamp": "2026-01-01T00:00:00Z",
        **metadata,
    }
    return {"metadata": meta, "spec": {"persistentVolumeReclaimPolicy": "Delete"}}


REPORTED = going_volume(finalizers=["example.com/other"])


@pytest.mark.parametrize(
    ("item", "old", "reason"),
    [
        (REPORTED, going_volume(), ""),
        (REPORTED, None, "may only update"),
        (REPORTED, going_volume(labels={NODE_LABEL: "two"}), "no folder of this volume"),
        (REPORTED, going_volume(annotations={}), "no folder of this volume"),
        (REPORTED, going_volume(deletionTimestamp=None), "no folder of this volume"),
        (
            going_volume(finalizers=[]),
            going_volume(finalizers=[FINALIZER, IN_USE]),
            "no folder of this volume",
        ),
        (going_volume(finalizers=[]), going_volume(), "anything but the finalizer"),
        (
            going_volume(finalizers=["example.com/other"], labels={NODE_LABEL: "two"}),
            going_volume(),
            "anything but the finalizer",
        ),
        (
            {**REPORTED, "spec": {"persistentVolumeReclaimPolicy": "Retain"}},
            going_volume(),
            "anything but the finalizer",
        ),
    ],
)
async def test_a_node_reports_a_removed_folder_and_changes_nothing_else(
    ask: Any, item: dict[str, Any], old: dict[str, Any] | None, reason: str
) -> None:
    asked = await ask(PLUGIN, "persistentvolumes", item, old=old, caller=NODE)
    if reason:
        assert reason in asked.refusal
    else:
        assert asked.error is None
