from typing import Any

import pytest
from msgspec import convert
from msgspec.structs import replace

from kubelite.api.auth.caller import Attributes, Caller
from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.auth.nodes import NodeAuthorizer, NodeGraph
from kubelite.api.kinds.core.persistent_volumes import PersistentVolume
from kubelite.api.kinds.core.pods import Pod, PodStatus
from kubelite.api.kinds.networking import Ingress, IngressClass
from kubelite.api.kinds.rbac import PolicyRule
from kubelite.api.kinds.resource import ResourceSlice
from kubelite.api.kinds.storage import VolumeAttachment
from kubelite.api.machinery.ingress_classes import CONTROLLER
from kubelite.api.machinery.local_volumes import NODE_LABEL, PROVISIONED_BY, PROVISIONER_NAME

NODE = Caller("system:node:one", ("system:nodes",))
SPEC = {
    "nodeName": "one",
    "serviceAccountName": "web",
    "imagePullSecrets": [{"name": "pull"}],
    "containers": [
        {
            "name": "c",
            "envFrom": [
                {"configMapRef": {"name": "env-cm"}},
                {"secretRef": {"name": "env-secret"}},
            ],
            "env": [
                {"name": "X", "valueFrom": {"secretKeyRef": {"name": "key-secret", "key": "k"}}}
            ],
        }
    ],
    "initContainers": [
        {
            "name": "i",
            "env": [
                {"name": "X", "valueFrom": {"configMapKeyRef": {"name": "init-cm", "key": "k"}}}
            ],
        }
    ],
    "volumes": [
        {"name": "a", "secret": {"secretName": "vol-secret"}},
        {"name": "b", "configMap": {"name": "vol-cm"}},
        {"name": "c", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "d", "ephemeral": {}},
        {
            "name": "e",
            "projected": {
                "sources": [
                    {"secret": {"name": "projected"}},
                    {"configMap": {"name": "kube-root-ca.crt"}},
                ]
            },
        },
        {"name": "f", "csi": {"driver": "x", "nodePublishSecretRef": {"name": "csi-secret"}}},
    ],
    "resourceClaims": [{"name": "gpu", "resourceClaimName": "gpu-claim"}],
}


def pod(name: str = "web-0", **metadata: Any) -> Pod:
    meta = {"name": name, "namespace": "shop", **metadata}
    return convert({"metadata": meta, "spec": SPEC}, Pod)


class Nodes:
    def __init__(self) -> None:
        self.lookup = FixedLookup([pod()])
        rules = [PolicyRule(verbs=["create"], apiGroups=[""], resources=["events"])]
        self.authorizer = NodeAuthorizer(NodeGraph(self.lookup), rules)

    def may(self, verb: str, resource: str, name: str = "", **rest: str) -> bool:
        namespace = rest.pop("namespace", "shop")
        attributes = Attributes(verb, resource=resource, name=name, namespace=namespace, **rest)
        return self.authorizer.decide(NODE, attributes).allowed

    def why(self, verb: str, resource: str, name: str = "", **rest: str) -> str:
        attributes = Attributes(verb, resource=resource, name=name, namespace="shop", **rest)
        return self.authorizer.decide(NODE, attributes).reason


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


@pytest.mark.parametrize(
    "name", ["pull", "env-secret", "key-secret", "vol-secret", "projected", "csi-secret"]
)
def test_reads_the_secrets_of_its_pods(nodes: Nodes, name: str) -> None:
    assert nodes.may("get", "secrets", name)
    assert nodes.may("watch", "secrets", field_selector=f"metadata.name={name}")
    assert not nodes.may("get", "secrets", name, namespace="other")
    assert not nodes.may("update", "secrets", name)


@pytest.mark.parametrize("name", ["env-cm", "init-cm", "vol-cm", "kube-root-ca.crt"])
def test_reads_the_config_maps_of_its_pods(nodes: Nodes, name: str) -> None:
    assert nodes.may("get", "configmaps", name)


def test_reads_nothing_of_other_nodes(nodes: Nodes) -> None:
    other = pod("web-1")
    spec = replace(other.spec, nodeName="two", imagePullSecrets=[])
    nodes.lookup.put(
        replace(other, spec=replace(spec, volumes=[], containers=[], serviceAccountName="theirs"))
    )
    assert not nodes.may("get", "secrets", "theirs")
    assert not nodes.may("get", "pods", "web-1")
    assert not nodes.may("create", "serviceaccounts", "theirs", subresource="token")
    assert (
        nodes.why("get", "secrets", "x")
        == "no relationship found between node 'one' and this object"
    )
    assert nodes.why("list", "secrets") == "No Object name found"


def test_forgets_with_the_pod(nodes: Nodes) -> None:
    nodes.lookup.put(pod("web-1"))
    nodes.lookup.remove(Pod, "web-0", "shop")
    assert nodes.may("get", "secrets", "pull")
    nodes.lookup.remove(Pod, "web-1", "shop")
    assert not nodes.may("get", "secrets", "pull")


def test_a_pod_waiting_for_a_node_concerns_nobody(nodes: Nodes) -> None:
    nodes.lookup.put(replace(pod(), spec=replace(pod().spec, nodeName="")))
    assert not nodes.may("get", "secrets", "pull")
    nodes.lookup.put(pod())
    assert nodes.may("get", "secrets", "pull")


def test_status_changes_change_nothing(nodes: Nodes) -> None:
    nodes.lookup.put(replace(pod(), status=replace(pod().status, phase="Running")))
    nodes.lookup.remove(Pod, "web-0", "shop")
    assert not nodes.may("get", "secrets", "pull")


def test_mirror_pods_give_no_access(nodes: Nodes) -> None:
    nodes.lookup.put(pod(annotations={"kubernetes.io/config.mirror": "x"}))
    assert not nodes.may("get", "secrets", "pull")
    assert nodes.may("get", "pods", "web-0")


def test_volumes_through_claims(nodes: Nodes) -> None:
    volume = {
        "metadata": {"name": "pv-1"},
        "spec": {
            "claimRef": {"namespace": "shop", "name": "data"},
            "csi": {
                "driver": "x",
                "volumeHandle": "h",
                "nodeStageSecretRef": {"name": "stage", "namespace": "storage"},
                "controllerPublishSecretRef": {"name": "control", "namespace": "storage"},
            },
        },
    }
    nodes.lookup.put(convert(volume, PersistentVolume))
    assert nodes.may("get", "persistentvolumeclaims", "data")
    assert nodes.may("get", "persistentvolumeclaims", "web-0-d")
    assert nodes.may("update", "persistentvolumeclaims", "data", subresource="status")
    # Beyond upstream: a node hears of the growth of its pods' claims, by name.
    assert nodes.may("watch", "persistentvolumeclaims", "data")
    assert not nodes.may("watch", "persistentvolumeclaims", "theirs")
    assert not nodes.may("watch", "persistentvolumeclaims", "")
    assert nodes.may("get", "persistentvolumes", "pv-1", namespace="")
    assert nodes.may("get", "secrets", "stage", namespace="storage")
    assert not nodes.may("get", "secrets", "control", namespace="storage")
    nodes.lookup.remove(PersistentVolume, "pv-1")
    assert not nodes.may("get", "secrets", "stage", namespace="storage")
    assert not nodes.may("get", "persistentvolumes", "pv-1", namespace="")


def test_a_volume_that_nobody_claims_is_nobodys(nodes: Nodes) -> None:
    free = convert({"metadata": {"name": "pv-1"}, "spec": {}}, PersistentVolume)
    nodes.lookup.put(free)
    assert not nodes.may("get", "persistentvolumes", "pv-1", namespace="")
    nodes.lookup.remove(PersistentVolume, "pv-1")


def test_attachments(nodes: Nodes) -> None:
    attachment = {
        "metadata": {"name": "va"},
        "spec": {"attacher": "x", "nodeName": "one", "source": {}},
    }
    nodes.lookup.put(convert(attachment, VolumeAttachment))
    assert nodes.may("get", "volumeattachments", "va", namespace="", group="storage.k8s.io")


@pytest.mark.parametrize(
    ("verb", "resource", "name", "rest", "expected"),
    [
        ("get", "nodes", "one", {}, True),
        ("get", "nodes", "two", {}, False),
        ("list", "nodes", "", {}, False),
        ("watch", "nodes", "", {"field_selector": "metadata.name=one"}, True),
        ("create", "nodes", "", {}, True),
        ("delete", "nodes", "one", {}, False),
        ("patch", "nodes", "one", {"subresource": "status"}, True),
        ("get", "nodes", "one", {"subresource": "proxy"}, False),
        ("get", "pods", "web-0", {}, True),
        ("list", "pods", "", {}, False),
        ("list", "pods", "", {"field_selector": "spec.nodeName=one"}, True),
        ("watch", "pods", "", {"field_selector": "spec.nodeName=two"}, False),
        ("patch", "pods", "x", {"subresource": "status"}, True),
        ("create", "pods", "x", {"subresource": "eviction"}, True),
        ("create", "pods", "x", {"subresource": "exec"}, False),
        ("delete", "pods", "x", {}, True),
        ("update", "pods", "x", {}, False),
        ("create", "serviceaccounts", "web", {"subresource": "token"}, True),
        ("create", "serviceaccounts", "other", {"subresource": "token"}, False),
        ("get", "serviceaccounts", "web", {}, True),
        ("get", "resourceclaims", "gpu-claim", {"group": "resource.k8s.io"}, True),
        (
            "get",
            "leases",
            "one",
            {"group": "coordination.k8s.io", "namespace": "kube-node-lease"},
            True,
        ),
        (
            "get",
            "leases",
            "two",
            {"group": "coordination.k8s.io", "namespace": "kube-node-lease"},
            False,
        ),
        ("get", "leases", "one", {"group": "coordination.k8s.io"}, False),
        (
            "list",
            "leases",
            "",
            {"group": "coordination.k8s.io", "namespace": "kube-node-lease"},
            False,
        ),
        ("get", "csinodes", "one", {"group": "storage.k8s.io"}, True),
        ("update", "csinodes", "two", {"group": "storage.k8s.io"}, False),
        ("create", "resourceslices", "", {"group": "resource.k8s.io"}, True),
        ("list", "resourceslices", "", {"group": "resource.k8s.io"}, False),
        ("create", "events", "", {}, True),
        ("delete", "events", "", {}, False),
        ("get", "deployments", "x", {"group": "apps"}, False),
    ],
)
def test_own_business(
    nodes: Nodes, verb: str, resource: str, name: str, rest: dict[str, str], expected: bool
) -> None:
    assert nodes.may(verb, resource, name, **rest) is expected


@pytest.mark.parametrize("verb", ["get", "create", "update", "patch", "delete"])
@pytest.mark.parametrize(
    ("resource", "group", "namespace"),
    [
        ("leases", "coordination.k8s.io", "kube-node-lease"),
        ("csinodes", "storage.k8s.io", ""),
    ],
)
def test_what_is_named_like_the_node_is_its_own_alone(
    nodes: Nodes, verb: str, resource: str, group: str, namespace: str
) -> None:
    where = {"group": group, "namespace": namespace}
    assert nodes.may(verb, resource, "one", **where)
    # A creation has no name yet: NodeRestriction looks into the object.
    assert nodes.may(verb, resource, "two", **where) is (verb == "create")
    assert nodes.may(verb, resource, "", **where) is (verb == "create")
    reason = nodes.authorizer.decide(
        NODE, Attributes(verb, group, "v1", resource, "", namespace, "two")
    ).reason
    assert ("with the same name as the requesting node" in reason) is (verb != "create")


@pytest.mark.parametrize("verb", ["list", "watch", "deletecollection"])
@pytest.mark.parametrize("selector", ["", "metadata.name=one"])
def test_leases_are_not_listed(nodes: Nodes, verb: str, selector: str) -> None:
    where = {"group": "coordination.k8s.io", "namespace": "kube-node-lease"}
    assert not nodes.may(verb, "leases", field_selector=selector, **where)


@pytest.mark.parametrize("namespace", ["", "default", "kube-system"])
@pytest.mark.parametrize("verb", ["get", "create", "update", "patch", "delete"])
def test_leases_elsewhere_are_not_a_nodes(nodes: Nodes, verb: str, namespace: str) -> None:
    assert not nodes.may(verb, "leases", "one", group="coordination.k8s.io", namespace=namespace)


@pytest.mark.parametrize(
    "caller",
    [
        Caller("system:node:one"),
        Caller("anna", ("system:nodes",)),
        Caller("one", ("system:nodes",)),
        Caller("system:node:", ("system:nodes",)),
    ],
)
def test_only_nodes_are_nodes(nodes: Nodes, caller: Caller) -> None:
    attributes = Attributes("get", resource="secrets", namespace="shop", name="pull")
    assert not nodes.authorizer.decide(caller, attributes).allowed


RESOURCE, STORAGE = {"group": "resource.k8s.io"}, {"group": "storage.k8s.io"}
UNRELATED = "no relationship found between node 'one' and this object"
TOKENS_ALONE = "can only create tokens for individual service accounts"
TOKEN_ALONE = "can only create token subresource of serviceaccount"
SLICE_ALONE = "cannot authorize ResourceSlice subresources"
SLICES_LISTED = "can only list/watch/deletecollection resourceslices with nodeName field selector"


@pytest.mark.parametrize(
    ("verb", "resource", "name", "rest", "reason"),
    [
        ("update", "secrets", "pull", {}, "can only read resources of this type"),
        ("get", "secrets", "pull", {"subresource": "status"}, "cannot read subresource"),
        ("get", "secrets", "other", {}, UNRELATED),
        ("list", "persistentvolumeclaims", "", {}, "can only get individual resources of this type"),
        ("get", "persistentvolumeclaims", "data", {"subresource": "x"}, "cannot get subresource"),
        ("update", "persistentvolumeclaims", "data", {}, "can only get individual resources of this type"),
        ("get", "persistentvolumeclaims", "data", {"subresource": "status"}, "can only get/update/patch this type"),
        ("patch", "persistentvolumeclaims", "theirs", {"subresource": "status"}, UNRELATED),
        ("get", "serviceaccounts", "other", {}, UNRELATED),
        ("get", "serviceaccounts", "web", {"subresource": "token"}, TOKENS_ALONE),
        ("list", "serviceaccounts", "", {}, TOKENS_ALONE),
        ("update", "serviceaccounts", "web", {}, TOKENS_ALONE),
        ("create", "serviceaccounts", "", {"subresource": "token"}, TOKENS_ALONE),
        ("create", "serviceaccounts", "web", {}, TOKEN_ALONE),
        ("create", "serviceaccounts", "web", {"subresource": "x"}, TOKEN_ALONE),
        ("list", "csinodes", "", STORAGE, "can only get, create, update, patch, or delete a CSINode"),
        ("update", "csinodes", "one", {**STORAGE, "subresource": "x"}, "cannot authorize CSINode subresources"),
        ("update", "resourceslices", "s", {**RESOURCE, "subresource": "x"}, SLICE_ALONE),
        ("update", "resourceslices", "s", RESOURCE, UNRELATED),
        ("delete", "resourceslices", "s", RESOURCE, UNRELATED),
        ("list", "resourceslices", "", RESOURCE, SLICES_LISTED),
        ("deletecollection", "resourceslices", "", {**RESOURCE, "field_selector": "spec.nodeName=two"}, SLICES_LISTED),
        ("list", "pods", "", {}, "can only list/watch pods with spec.nodeName field selector"),
        ("watch", "pods", "", {"field_selector": "metadata.name=theirs"}, UNRELATED),
        ("get", "pods", "theirs", {}, UNRELATED),
        ("get", "pods", "web-0", {"subresource": "status"}, ""),
        ("delete", "pods", "web-0", {"subresource": "eviction"}, ""),
        ("get", "nodes", "one", {"subresource": "status"}, ""),
    ],
)  # fmt: skip
def test_why_a_node_may_not(
    nodes: Nodes, verb: str, resource: str, name: str, rest: dict[str, str], reason: str
) -> None:
    assert not nodes.may(verb, resource, name, **rest)
    assert nodes.why(verb, resource, name, **rest) == reason


def test_secrets_and_the_like_are_read_in_a_namespace_alone(nodes: Nodes) -> None:
    for resource in ("secrets", "configmaps", "serviceaccounts"):
        attributes = Attributes("get", resource=resource, name="pull", namespace="")
        assert nodes.authorizer.decide(NODE, attributes).reason == (
            "can only read namespaced object of this type"
        )


def test_a_pod_by_its_name_is_watched_if_it_is_the_nodes(nodes: Nodes) -> None:
    assert nodes.may("watch", "pods", field_selector="metadata.name=web-0")
    assert nodes.may("list", "pods", field_selector="spec.nodeName=one,metadata.name=x")
    assert nodes.may("create", "pods", "mirror")


def a_slice(node: str | None) -> ResourceSlice:
    spec = {"driver": "x", **({"nodeName": node} if node else {"allNodes": True})}
    return convert({"metadata": {"name": "s"}, "spec": spec}, ResourceSlice)


def test_resource_slices_are_those_of_the_node(nodes: Nodes) -> None:
    def may(verb: str, **rest: str) -> bool:
        return nodes.may(verb, "resourceslices", "s", namespace="", **RESOURCE, **rest)

    assert not may("get")
    nodes.lookup.put(a_slice("one"))
    assert may("get")
    assert may("update")
    assert may("delete")
    # A second look at the same one is not a second one.
    nodes.lookup.put(a_slice("one"))
    nodes.lookup.put(a_slice("two"))
    assert not may("get")
    nodes.lookup.put(a_slice(None))
    assert not may("get")
    nodes.lookup.put(a_slice("one"))
    nodes.lookup.remove(ResourceSlice, "s")
    assert not may("get")
    selector = {"field_selector": "spec.nodeName=one"}
    for verb in ("list", "watch", "deletecollection"):
        assert nodes.may(verb, "resourceslices", "", namespace="", **RESOURCE, **selector)


def test_attachments_follow_their_node(nodes: Nodes) -> None:
    def attachment(node: str) -> VolumeAttachment:
        spec = {"attacher": "x", "nodeName": node, "source": {}}
        return convert({"metadata": {"name": "va"}, "spec": spec}, VolumeAttachment)

    def may() -> bool:
        return nodes.may("get", "volumeattachments", "va", namespace="", **STORAGE)

    nodes.lookup.put(attachment("one"))
    nodes.lookup.put(attachment("one"))
    assert may()
    nodes.lookup.put(attachment("two"))
    assert not may()
    nodes.lookup.put(attachment("one"))
    nodes.lookup.remove(VolumeAttachment, "va")
    assert not may()


def test_claims_made_for_a_running_pod_are_its_nodes_too(nodes: Nodes) -> None:
    def may(name: str) -> bool:
        return nodes.may("get", "resourceclaims", name, **RESOURCE)

    made = pod()
    template = convert(
        {"name": "gpu", "resourceClaimTemplateName": "t"}, type(made.spec.resourceClaims[0])
    )
    made = replace(made, spec=replace(made.spec, resourceClaims=[template]))
    nodes.lookup.put(made)
    assert not may("web-0-gpu")
    # The spec stays as it was: only the status tells the name.
    status = {"resourceClaimStatuses": [{"name": "gpu", "resourceClaimName": "web-0-gpu"}]}
    nodes.lookup.put(replace(made, status=convert(status, PodStatus)))
    assert may("web-0-gpu")
    extended = {"extendedResourceClaimStatus": {"resourceClaimName": "web-0-extended"}}
    nodes.lookup.put(replace(made, status=convert({**status, **extended}, PodStatus)))
    assert may("web-0-gpu")
    assert may("web-0-extended")
    nodes.lookup.put(replace(made, status=convert(extended, PodStatus)))
    assert not may("web-0-gpu")
    assert may("web-0-extended")


def test_what_is_forgotten_takes_no_room(nodes: Nodes) -> None:
    graph = NodeGraph(nodes.lookup)
    volume = {
        "metadata": {"name": "pv"},
        "spec": {"claimRef": {"namespace": "shop", "name": "data"}},
    }
    nodes.lookup.put(convert(volume, PersistentVolume))
    nodes.lookup.put(a_slice("one"))
    assert graph._nodes
    assert graph._claims
    nodes.lookup.remove(PersistentVolume, "pv")
    nodes.lookup.remove(ResourceSlice, "s")
    nodes.lookup.remove(Pod, "web-0", "shop")
    assert (graph._nodes, graph._claims) == ({}, {})


def kept_volume(name: str, node: str, provisioner: str = PROVISIONER_NAME) -> PersistentVolume:
    meta = {
        "name": name,
        "labels": {NODE_LABEL: node},
        "annotations": {PROVISIONED_BY: provisioner},
    }
    return convert({"metadata": meta}, PersistentVolume)


def test_a_node_reports_only_on_the_volumes_whose_folders_it_keeps(nodes: Nodes) -> None:
    nodes.lookup.put(kept_volume("mine", "one"))
    nodes.lookup.put(kept_volume("theirs", "two"))
    nodes.lookup.put(kept_volume("foreign", "one", "example.com/other"))
    assert nodes.may("patch", "persistentvolumes", "mine", namespace="")
    for name in ("theirs", "foreign", "none"):
        assert not nodes.may("patch", "persistentvolumes", name, namespace="")
    for verb in ("update", "delete", "create", "deletecollection"):
        assert not nodes.may(verb, "persistentvolumes", "mine", namespace="")
    assert not nodes.may("patch", "persistentvolumes", "mine", namespace="", subresource="status")
    assert not nodes.may("get", "persistentvolumes", "mine", namespace="")
    nodes.lookup.put(kept_volume("mine", "two"))
    assert not nodes.may("patch", "persistentvolumes", "mine", namespace="")


@pytest.mark.parametrize(
    ("selector", "allowed"),
    [
        (f"{NODE_LABEL}=one", True),
        (f"{NODE_LABEL} in (one)", True),
        (f"a=b,{NODE_LABEL}==one", True),
        ("", False),
        (f"{NODE_LABEL}=two", False),
        (f"{NODE_LABEL} in (one,two)", False),
        (f"{NODE_LABEL}!=two", False),
        (NODE_LABEL, False),
        (f"{NODE_LABEL}=one,,=", False),
    ],
)
@pytest.mark.parametrize("verb", ["list", "watch"])
def test_a_node_lists_the_volumes_with_its_own_label(
    nodes: Nodes, verb: str, selector: str, allowed: bool
) -> None:
    may = nodes.may(verb, "persistentvolumes", namespace="", label_selector=selector)
    assert may is allowed
    wide = nodes.may("deletecollection", "persistentvolumes", namespace="", label_selector=selector)
    assert not wide


def test_a_node_reads_the_certificates_of_kubelites_ingresses_and_of_no_others(
    nodes: Nodes,
) -> None:
    def a_class(controller: str) -> IngressClass:
        return convert(
            {"metadata": {"name": "way-in"}, "spec": {"controller": controller}}, IngressClass
        )

    spec = {"ingressClassName": "way-in", "tls": [{"hosts": ["a.x"], "secretName": "web-tls"}]}
    ingress = convert({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}, Ingress)

    def may(namespace: str = "shop", name: str = "web-tls") -> bool:
        answers = {
            nodes.may(verb, "secrets", name, namespace=namespace)
            for verb in ("get", "list", "watch")
        }
        assert len(answers) == 1
        return answers.pop()

    nodes.lookup.put(ingress)
    assert not may()
    nodes.lookup.put(a_class("example.com/other"))
    assert not may()
    nodes.lookup.put(a_class(CONTROLLER))
    assert may()
    assert not may(namespace="bank")  # a Secret of the same name elsewhere
    assert not may(name="other")
    assert not nodes.may("list", "secrets")
    assert not nodes.may("update", "secrets", "web-tls")
    nodes.lookup.remove(Ingress, "web", "shop")
    assert not may()


def test_a_node_reads_the_certificates_of_gateways_while_they_are_served(nodes: Nodes) -> None:
    assert not nodes.may("get", "secrets", "gate-tls", namespace="shop")
    nodes.authorizer.serve(frozenset({("shop", "gate-tls")}), frozenset({("shop", "ca")}))
    assert nodes.may("get", "configmaps", "ca", namespace="shop")
    assert not nodes.may("get", "configmaps", "gate-tls", namespace="shop")
    for verb in ("get", "list", "watch"):
        assert nodes.may(verb, "secrets", "gate-tls", namespace="shop")
    assert not nodes.may("get", "secrets", "gate-tls", namespace="bank")
    assert not nodes.may("update", "secrets", "gate-tls", namespace="shop")
    nodes.authorizer.serve(frozenset(), frozenset())
    assert not nodes.may("get", "secrets", "gate-tls", namespace="shop")
