import json
from copy import deepcopy
from typing import Any

import pytest
from complete_objects import complete_object
from fakes.rows import ROWS
from reference import reference_files

from kubelite.api.kinds.authentication import TokenRequest
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.shaping.shape import Shape
from kubelite.api.registry.subresources.token import FORM as TOKEN_REQUEST

SHAPES: dict[GroupVersionKind, Shape] = {gvk: row.shape for gvk, row in ROWS.items()}
SHAPES[TokenRequest.gvk] = TOKEN_REQUEST


def filled(group: str, kind: str, body: dict[str, Any], version: str = "v1") -> dict[str, Any]:
    gvk = GroupVersionKind(group, version, kind)
    assert SHAPES[gvk].receive(body) == ()
    return body


CONTAINER = {
    "name": "a",
    "image": "nginx",
    "imagePullPolicy": "Always",
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
POD_SPEC = {
    "containers": [CONTAINER],
    "dnsPolicy": "ClusterFirst",
    "restartPolicy": "Always",
    "schedulerName": "default-scheduler",
    "securityContext": {},
    "terminationGracePeriodSeconds": 30,
}
TEMPLATE = {"metadata": {}, "spec": POD_SPEC}


def given(**container: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "a", "image": "nginx", **container}]}}


def test_a_pod() -> None:
    assert filled("", "Pod", given())["spec"] == {**POD_SPEC, "enableServiceLinks": True}


def test_a_pod_requests_what_is_limited_and_rounds_it() -> None:
    body = given(resources={"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100u"}})
    assert filled("", "Pod", body)["spec"]["containers"][0]["resources"] == {
        "limits": {"cpu": "1", "memory": "1Gi"},
        "requests": {"cpu": "1m", "memory": "1Gi"},
    }


def test_pod_level_resources_come_from_the_containers() -> None:
    body = given(resources={"requests": {"cpu": "100m"}})
    body["spec"]["initContainers"] = [
        {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "50m"}}},
        {"name": "i", "resources": {"requests": {"cpu": "200m"}}},
    ]
    body["spec"]["resources"] = {"limits": {"cpu": "1", "memory": "1Gi"}}
    assert filled("", "Pod", body)["spec"]["resources"] == {
        "limits": {"cpu": "1", "memory": "1Gi"},
        "requests": {"cpu": "250m", "memory": "1Gi"},
    }


def test_a_pod_on_the_hosts_network_opens_host_ports() -> None:
    body = given(ports=[{"containerPort": 80}])
    body["spec"]["hostNetwork"] = True
    assert filled("", "Pod", body)["spec"]["containers"][0]["ports"] == [
        {"containerPort": 80, "hostPort": 80, "protocol": "TCP"}
    ]


def test_probes_hooks_and_references() -> None:
    body = given(
        livenessProbe={"httpGet": {"port": 80}},
        readinessProbe={"grpc": {"port": 1}, "timeoutSeconds": 5},
        lifecycle={"preStop": {"httpGet": {"port": 80}}},
        env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
    )
    container = filled("", "Pod", body)["spec"]["containers"][0]
    times = {"periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
    request = {"port": 80, "path": "/", "scheme": "HTTP"}
    assert container["livenessProbe"] == {"httpGet": request, "timeoutSeconds": 1, **times}
    assert container["readinessProbe"] == {
        "grpc": {"port": 1, "service": ""},
        "timeoutSeconds": 5,
        **times,
    }
    assert container["lifecycle"]["preStop"]["httpGet"] == request
    assert container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] == "v1"


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        ({}, {"emptyDir": {}}),
        ({"secret": {"secretName": "s"}}, {"secret": {"secretName": "s", "defaultMode": 420}}),
        ({"configMap": {}}, {"configMap": {"defaultMode": 420}}),
        ({"hostPath": {"path": "/"}}, {"hostPath": {"path": "/", "type": ""}}),
        (
            {"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
            {
                "projected": {
                    "defaultMode": 420,
                    "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}],
                }
            },
        ),
        (
            {"image": {"reference": "a:1"}},
            {"image": {"reference": "a:1", "pullPolicy": "IfNotPresent"}},
        ),
    ],
)
def test_volumes(volume: dict[str, Any], expected: dict[str, Any]) -> None:
    body = given()
    body["spec"]["volumes"] = [{"name": "v", **volume}]
    assert filled("", "Pod", body)["spec"]["volumes"] == [{"name": "v", **expected}]


@pytest.mark.parametrize("field", ["serviceAccountName", "serviceAccount"])
def test_the_service_account_has_two_names(field: str) -> None:
    body = given()
    body["spec"][field] = "robot"
    spec = filled("", "Pod", body)["spec"]
    assert (spec["serviceAccountName"], spec["serviceAccount"]) == ("robot", "robot")


def test_addresses_are_told_twice() -> None:
    body = given()
    body["status"] = {"podIP": "10.0.0.1"}
    assert filled("", "Pod", body)["status"]["podIPs"] == [{"ip": "10.0.0.1"}]
    assert filled("", "Node", {"spec": {"podCIDR": "10.0.0.0/24"}})["spec"]["podCIDRs"] == [
        "10.0.0.0/24"
    ]


def test_where_old_and_new_fields_differ_the_old_one_wins() -> None:
    body = given()
    body["status"] = {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.2"}, {"ip": "fd::2"}]}
    assert filled("", "Pod", body)["status"]["podIPs"] == [{"ip": "10.0.0.1"}]
    node = {"spec": {"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.1.0/24"]}}
    assert filled("", "Node", node)["spec"]["podCIDRs"] == ["10.0.0.0/24"]


def test_a_negative_grace_period_becomes_the_shortest() -> None:
    body = given()
    body["spec"]["terminationGracePeriodSeconds"] = -5
    assert filled("", "Pod", body)["spec"]["terminationGracePeriodSeconds"] == 1


@pytest.mark.parametrize(
    ("group", "kind", "body", "expected"),
    [
        (
            "apps",
            "Deployment",
            {"spec": {"selector": {}, "template": given()}},
            {
                "selector": {},
                "template": TEMPLATE,
                "replicas": 1,
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
                },
                "revisionHistoryLimit": 10,
                "progressDeadlineSeconds": 600,
            },
        ),
        (
            "apps",
            "DaemonSet",
            {"spec": {"selector": {}, "template": given()}},
            {
                "selector": {},
                "template": TEMPLATE,
                "updateStrategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0},
                },
                "revisionHistoryLimit": 10,
            },
        ),
        (
            "apps",
            "StatefulSet",
            {"spec": {"selector": {}, "template": given(), "volumeClaimTemplates": [{}]}},
            {
                "selector": {},
                "template": TEMPLATE,
                "replicas": 1,
                "serviceName": "",
                "podManagementPolicy": "OrderedReady",
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
                "persistentVolumeClaimRetentionPolicy": {
                    "whenDeleted": "Retain",
                    "whenScaled": "Retain",
                },
                "revisionHistoryLimit": 10,
                "volumeClaimTemplates": [
                    {
                        "apiVersion": "v1",
                        "kind": "PersistentVolumeClaim",
                        "metadata": {},
                        "spec": {"resources": {}, "volumeMode": "Filesystem"},
                        "status": {"phase": "Pending"},
                    }
                ],
            },
        ),
        (
            "batch",
            "Job",
            {"spec": {"template": given()}},
            {
                "template": TEMPLATE,
                "completions": 1,
                "parallelism": 1,
                "backoffLimit": 6,
                "completionMode": "NonIndexed",
                "suspend": False,
                "podReplacementPolicy": "TerminatingOrFailed",
                "manualSelector": False,
            },
        ),
        (
            "",
            "Service",
            {"spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}},
            {
                "type": "LoadBalancer",
                "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
                "sessionAffinity": "None",
                "internalTrafficPolicy": "Cluster",
                "externalTrafficPolicy": "Cluster",
                "allocateLoadBalancerNodePorts": True,
            },
        ),
        (
            "",
            "Service",
            {"spec": {"type": "ExternalName", "sessionAffinity": "ClientIP"}},
            {
                "type": "ExternalName",
                "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
            },
        ),
        ("autoscaling", "HorizontalPodAutoscaler", {}, None),
        (
            "networking.k8s.io",
            "NetworkPolicy",
            {"spec": {"podSelector": {}, "egress": [{"ports": [{"port": 1}]}]}},
            {
                "podSelector": {},
                "egress": [{"ports": [{"port": 1, "protocol": "TCP"}]}],
                "policyTypes": ["Ingress", "Egress"],
            },
        ),
        (
            "flowcontrol.apiserver.k8s.io",
            "PriorityLevelConfiguration",
            {"spec": {"type": "Limited", "limited": {"limitResponse": {"queuing": {}}}}},
            {
                "type": "Limited",
                "limited": {
                    "nominalConcurrencyShares": 30,
                    "lendablePercent": 0,
                    "limitResponse": {
                        "type": "",
                        "queuing": {"handSize": 8, "queues": 64, "queueLengthLimit": 50},
                    },
                },
            },
        ),
        (
            "apiextensions.k8s.io",
            "CustomResourceDefinition",
            {
                "spec": {
                    "group": "g",
                    "scope": "Cluster",
                    "names": {"kind": "Cat", "plural": "cats"},
                    "versions": [{"name": "v1", "served": True, "storage": True}],
                }
            },
            {
                "group": "g",
                "scope": "Cluster",
                "names": {
                    "kind": "Cat",
                    "plural": "cats",
                    "singular": "cat",
                    "listKind": "CatList",
                },
                "versions": [{"name": "v1", "served": True, "storage": True}],
                "conversion": {"strategy": "None"},
            },
        ),
    ],
)
def test_specs(
    group: str, kind: str, body: dict[str, Any], expected: dict[str, Any] | None
) -> None:
    spec = filled(group, kind, deepcopy(body))["spec"]
    assert spec == (
        expected or {"maxReplicas": 0, "minReplicas": 1, "scaleTargetRef": {"kind": "", "name": ""}}
    )


def test_labels_come_from_the_template() -> None:
    template = {"metadata": {"labels": {"a": "b"}}, **given()}
    job = filled("batch", "Job", {"spec": {"template": deepcopy(template)}})
    assert job["metadata"] == {"labels": {"a": "b"}}
    controller = filled("", "ReplicationController", {"spec": {"template": deepcopy(template)}})
    assert controller["spec"]["selector"] == controller["metadata"]["labels"] == {"a": "b"}
    assert controller["spec"]["replicas"] == 1


def test_secrets_take_texts_in_the_clear() -> None:
    secret = filled("", "Secret", {"data": {"a": "YQ==", "b": "YQ=="}, "stringData": {"b": "bb"}})
    assert secret["data"] == {"a": "YQ==", "b": "YmI="}
    assert secret["type"] == "Opaque"
    assert "stringData" not in secret


def test_bindings_name_their_groups() -> None:
    binding = filled(
        "rbac.authorization.k8s.io",
        "RoleBinding",
        {
            "roleRef": {"kind": "Role", "name": "r"},
            "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}],
        },
    )
    assert binding["roleRef"]["apiGroup"] == "rbac.authorization.k8s.io"
    assert [subject.get("apiGroup") for subject in binding["subjects"]] == [
        "rbac.authorization.k8s.io",
        None,
    ]


def test_a_namespace_carries_its_name() -> None:
    namespace = filled("", "Namespace", {"metadata": {"name": "n"}})
    assert namespace["metadata"]["labels"] == {"kubernetes.io/metadata.name": "n"}
    assert namespace["status"] == {"phase": "Active"}


def test_limit_ranges_of_containers_follow_from_each_other() -> None:
    item = {"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"}}
    limits = filled("", "LimitRange", {"spec": {"limits": [item]}})["spec"]["limits"][0]
    assert limits["default"] == {"cpu": "2"}
    assert limits["defaultRequest"] == {"cpu": "2", "memory": "1Mi"}


def test_autoscalers_follow_the_cpu() -> None:
    body = {"spec": {"maxReplicas": 3, "scaleTargetRef": {}, "behavior": {"scaleDown": {}}}}
    spec = filled("autoscaling", "HorizontalPodAutoscaler", body, "v2")["spec"]
    assert spec["metrics"][0]["resource"]["target"]["averageUtilization"] == 80
    assert spec["behavior"]["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert "stabilizationWindowSeconds" not in spec["behavior"]["scaleDown"]


@pytest.mark.parametrize("gvk", SHAPES, ids=lambda gvk: f"{gvk.group}/{gvk.version}/{gvk.kind}")
def test_empty_objects_are_filled_once_and_for_all(gvk: GroupVersionKind) -> None:
    body: dict[str, Any] = {"metadata": {"name": "a"}}
    SHAPES[gvk].complete(body)
    before = deepcopy(body)
    assert SHAPES[gvk].receive(body) == ()
    assert body == before


@pytest.mark.parametrize("gvk", SHAPES, ids=lambda gvk: f"{gvk.group}/{gvk.version}/{gvk.kind}")
def test_complete_objects_are_filled_once_and_for_all(gvk: GroupVersionKind) -> None:
    name = f"{gvk.group or 'core'}.{gvk.version}.{gvk.kind}.json"
    published = [json.loads(path.read_text()) for path in reference_files(f"roundtrip/{name}")]
    for body in (complete_object(gvk), *published):
        SHAPES[gvk].complete(body)
        before = deepcopy(body)
        SHAPES[gvk].complete(body)
        assert body == before
