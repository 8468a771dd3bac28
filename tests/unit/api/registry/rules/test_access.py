"""Rules of roles, bindings and certificate requests."""

import base64

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fakes.rule_samples import changed, lines

from kubelite.api.registry.rules import access

RULE = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}
BINDING = {
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
    "subjects": [{"kind": "ServiceAccount", "name": "a", "namespace": "b"}],
}


def made_request() -> str:
    """Make a signing request."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "jane")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return base64.b64encode(csr.public_bytes(serialization.Encoding.PEM)).decode()


REQUEST = {
    "spec": {
        "request": made_request(),
        "usages": ["client auth"],
        "signerName": "kubernetes.io/kube-apiserver-client",
    }
}


def test_roles() -> None:
    assert access.role({"rules": [RULE]}) == []
    assert lines(access.role({"rules": [{"nonResourceURLs": ["/x"]}]})) == [
        "rules[0].verbs: Required value: verbs must contain at least one value",
        (
            'rules[0].nonResourceURLs: Invalid value: ["/x"]: '
            "namespaced rules cannot apply to non-resource URLs"
        ),
    ]
    assert access.cluster_role({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]}) == []
    assert len(access.cluster_role({"aggregationRule": {}})) == 1


def test_bindings() -> None:
    assert access.role_binding(BINDING) == []
    assert access.cluster_role_binding(BINDING) == []
    assert lines(access.cluster_role_binding(changed(BINDING, "roleRef.kind", "Role"))) == [
        'roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"'
    ]
    (line,) = lines(access.role_binding_update(changed(BINDING, "roleRef.name", "x"), BINDING))
    assert line.endswith("cannot change roleRef")
    user = changed(BINDING, "subjects", [{"kind": "User", "name": "u"}])
    assert lines(access.role_binding(user)) == [
        'subjects[0].apiGroup: Unsupported value: "": supported values: "rbac.authorization.k8s.io"'
    ]


def test_requests_are_decided_and_issued_at_their_own_doors() -> None:
    approved = changed(REQUEST, "status", {"conditions": [{"type": "Approved", "status": "True"}]})
    assert access.signing_request(REQUEST) == []
    assert access.signing_request_approval(approved, REQUEST) == []
    assert lines(access.signing_request_status(approved, REQUEST)) == [
        'status.conditions: Forbidden: updates may not add a condition of type "Approved"'
    ]
    issued = changed(REQUEST, "status.certificate", "AA==")
    assert access.signing_request_status(issued, REQUEST) == []
    assert len(access.signing_request_approval(issued, REQUEST)) == 1
    denied = changed(
        approved,
        "status.conditions",
        [
            {"type": "Approved", "status": "True"},
            {"type": "Denied", "status": "True"},
        ],
    )
    assert "mutually exclusive" in lines(access.signing_request_approval(denied, REQUEST))[0]


def test_wrong_requests_are_named() -> None:
    assert lines(access.signing_request(changed(REQUEST, "spec.usages", []))) == [
        "spec.usages: Required value"
    ]
    assert len(access.signing_request(changed(REQUEST, "spec.signerName", "mine"))) == 1
    assert len(access.signing_request(changed(REQUEST, "spec.expirationSeconds", 60))) == 1
    assert lines(access.signing_request(changed(REQUEST, "spec.request", "AA=="))) == [
        'spec.request: Invalid value: "AA==": PEM block type must be CERTIFICATE REQUEST'
    ]
