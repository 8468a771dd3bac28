from typing import Any

import pytest

from kubelite.api.auth.audit_policy import AuditPolicy, Level, PolicyInvalid
from kubelite.api.auth.caller import Attributes, Caller

POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: [system:kube-proxy]
  verbs: [watch]
- level: None
  nonResourceURLs: ["/healthz*", /version]
- level: Metadata
  resources:
  - group: ""
    resources: [secrets, configmaps, serviceaccounts/token]
- level: Request
  userGroups: [system:nodes]
  verbs: [update]
  resources:
  - group: ""
    resources: [nodes/status]
    resourceNames: [one]
- level: RequestResponse
  namespaces: [shop]
  omitStages: [ResponseStarted]
  omitManagedFields: true
- level: Metadata
  resources:
  - group: apps
"""


@pytest.mark.parametrize(
    ("caller", "wanted", "level"),
    [
        (Caller("system:kube-proxy"), {"verb": "watch", "resource": "endpoints"}, Level.NONE),
        (Caller("x"), {"verb": "get", "path": "/healthz/etcd"}, Level.NONE),
        (Caller("x"), {"verb": "get", "path": "/metrics"}, Level.NONE),
        (Caller("x"), {"verb": "get", "resource": "secrets", "namespace": "shop"}, Level.METADATA),
        (
            Caller("x"),
            {"verb": "create", "resource": "serviceaccounts", "subresource": "token"},
            Level.METADATA,
        ),
        (
            Caller("n", ("system:nodes",)),
            {"verb": "update", "resource": "nodes", "subresource": "status", "name": "one"},
            Level.REQUEST,
        ),
        (
            Caller("n", ("system:nodes",)),
            {"verb": "update", "resource": "nodes", "subresource": "status", "name": "two"},
            Level.NONE,
        ),
        (
            Caller("x"),
            {"verb": "get", "resource": "pods", "namespace": "shop"},
            Level.REQUEST_RESPONSE,
        ),
        (
            Caller("x"),
            {"verb": "get", "group": "apps", "resource": "deployments", "namespace": "a"},
            Level.METADATA,
        ),
        (Caller("x"), {"verb": "get", "resource": "pods", "namespace": "a"}, Level.NONE),
    ],
)
def test_first_match_decides(caller: Caller, wanted: dict[str, Any], level: Level) -> None:
    assert AuditPolicy.read(POLICY).extent(caller, Attributes(**wanted)).level is level


def test_stages_and_managed_fields() -> None:
    extent = AuditPolicy.read(POLICY).extent(
        Caller("x"), Attributes("get", resource="pods", namespace="shop")
    )
    assert extent.omitted_stages == {"RequestReceived", "ResponseStarted"}
    assert extent.omits_managed_fields


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rules: 5",
        "rules: [{level: Loud}]",
        "rules: [{level: None, omitStages: [Never]}]",
        "rules: [{level: None, nonResourceURLs: [/a], namespaces: [b]}]",
        "{rules: [], kind: Pod}",
        "rules: [{level: None, user: [x]}]",
        "rules: [",
    ],
)
def test_policies_that_cannot_be_used(text: str) -> None:
    with pytest.raises(PolicyInvalid, match="cannot use the audit policy"):
        AuditPolicy.read(text)
