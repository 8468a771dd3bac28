"""Warnings about nodes, quotas, identities, Secrets, devices, admission and custom resources."""

import base64
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kubelite.api.registry.rules.warnings import cluster

JSON = dict[str, Any]


def test_nodes() -> None:
    spec = {"configSource": {}, "externalID": "a", "podCIDRs": ["10.42.1.0/16"]}
    assert list(cluster.node({"spec": spec})) == [
        "spec.configSource: the feature is removed",
        "spec.externalID: this field is deprecated, and is unused by Kubernetes",
        (
            'spec.podCIDRs[0]: CIDR value "10.42.1.0/16" is ambiguous in this context '
            '(should be "10.42.0.0/16" or "10.42.1.0/32"?)'
        ),
    ]


def test_quotas() -> None:
    hard = {
        "cpu": "2",
        "limits.cpu": "1",
        "requests.memory": "3Gi",
        "limits.memory": "2Gi",
        "requests.ephemeral-storage": "1",
        "limits.ephemeral-storage": "1",
    }
    assert list(cluster.quota({"spec": {"hard": hard}})) == [
        "ResourceQuota cpu (2) should be less than limits.cpu (1)",
        "ResourceQuota requests.memory (3Gi) should be less than limits.memory (2Gi)",
    ]


def test_service_accounts() -> None:
    marked = {"metadata": {"annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}}
    text = (
        "metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; "
        "prefer separate namespaces to isolate access to mounted secrets"
    )
    assert list(cluster.service_account(marked)) == [text]
    assert list(cluster.service_account_update(marked, {"metadata": {}})) == [text]
    assert list(cluster.service_account_update(marked, marked)) == []


def _pair() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a")])
    date = datetime(2026, 5, 1, tzinfo=UTC)
    certificate = x509.CertificateBuilder(name, name, key.public_key(), 1, date, date)
    return (
        certificate.sign(key, SHA256()).public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def _secret(certificate: bytes, key: bytes) -> JSON:
    data = {"tls.crt": certificate, "tls.key": key}
    encoded = {name: base64.b64encode(value).decode() for name, value in data.items()}
    return {"type": "kubernetes.io/tls", "data": encoded}


def test_secrets_of_certificates() -> None:
    certificate, key = _pair()
    other = _pair()[1]
    assert list(cluster.secret(_secret(certificate, key))) == []
    assert list(cluster.secret(_secret(certificate, other))) == [
        "tls: private key does not match public key"
    ]
    assert list(cluster.secret({**_secret(certificate, other), "type": "Opaque"})) == []


def test_runtime_classes() -> None:
    selector = {"beta.kubernetes.io/arch": "amd64", "zone": "a"}
    assert list(cluster.runtime_class({"scheduling": {"nodeSelector": selector}})) == [
        'scheduling.nodeSelector: deprecated since v1.14; use "kubernetes.io/arch" instead'
    ]


def test_drivers_of_devices() -> None:
    assert list(cluster.resource_slice({"spec": {"driver": "gpu.example"}})) == []
    assert list(cluster.resource_slice({"spec": {"driver": "GPU.example"}})) == [
        'spec.driver: driver names should be lowercase; "GPU.example" contains uppercase characters'
    ]


def test_names_of_static_configuration() -> None:
    assert list(cluster.static_name({"metadata": {"name": "a.k8s.io"}})) == []
    assert list(cluster.static_name({"metadata": {"name": "a.static.k8s.io"}})) == [
        (
            'metadata.name: names ending with ".static.k8s.io" are reserved for static manifest-based '
            "configurations and cannot be managed via the API"
        )
    ]


def _definition(**properties: JSON) -> JSON:
    schema = {"type": "object", "properties": {"spec": {"properties": properties}}}
    return {"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]}}


def test_formats_of_custom_resources() -> None:
    old = _definition(a={"type": "string", "format": "colour"})
    new = _definition(
        a={"type": "string", "format": "colour"},
        b={"type": "array", "items": {"type": "string", "format": "date-time"}},
        c={"type": "integer", "format": "int16"},
        d={"type": "boolean", "format": "date"},
        e={"anyOf": [{"format": "int32"}]},
        f={"type": "string", "format": "k8s-short-name"},
    )
    assert list(cluster.custom_resource(old)) == ['unrecognized format "colour"']
    (version,) = old["spec"]["versions"]
    twice = {"spec": {"versions": [version, version]}}
    assert list(cluster.custom_resource(twice)) == ['unrecognized format "colour"']
    assert sorted(cluster.custom_resource_update(new, old)) == [
        'unrecognized format "date"',
        'unrecognized format "int16"',
        'unrecognized format "int32"',
    ]
