"""Who may come in and what they may do there: proofs that are false, borrowed or over, against a real server."""

import base64
import hmac
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from clients.conftest import Kubectl, ServerProcess
from clients.door import Door
from kubelite.api.auth.certificates import (
    CLIENT_AUTH,
    SERVER_AUTH,
    Authority,
    Wanted,
    certificate_pem,
    issue,
    key_pem,
    new_authority,
    new_key,
    read_key,
    signing_request,
)
from kubelite.net.host_addresses import LOOPBACK, preferred_source
from kubelite.randomness import SeededRandomness

pytestmark = pytest.mark.kubectl

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
RANDOMNESS = SeededRandomness(7)
REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
REVIEW_BODY = b'{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}'


@pytest.fixture(scope="module")
def door(server: ServerProcess) -> Door:
    return Door(server.kubeconfig, server.process.pid)


def authority(server: ServerProcess, name: str) -> Authority:
    folder = server.folder / "data" / "pki"
    certificate = x509.load_pem_x509_certificates((folder / f"{name}.crt").read_bytes())[0]
    return Authority(read_key((folder / f"{name}.key").read_bytes()), certificate)


def who(door: Door, token: str = "", pair: bytes = b"") -> tuple[int, str]:
    """Return the status of a self-review and whom it names."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    status, body = door.answer("POST", REVIEW, REVIEW_BODY, headers, door.context_of(pair))
    return status, body["status"]["userInfo"]["username"] if status == 201 else body["message"]


REFUSED = (401, "Unauthorized")


@pytest.mark.parametrize(
    ("signer", "made", "lifetime", "usage", "expected"),
    [
        ("ca", NOW, DAY, CLIENT_AUTH, (201, "dora")),
        ("ca", NOW - 3 * DAY, DAY, CLIENT_AUTH, REFUSED),
        ("ca", NOW + DAY, DAY, CLIENT_AUTH, REFUSED),
        ("ca", NOW, DAY, SERVER_AUTH, REFUSED),
        ("front-proxy-ca", NOW, DAY, CLIENT_AUTH, REFUSED),
        ("foreign", NOW, DAY, CLIENT_AUTH, REFUSED),
        ("namesake", NOW, DAY, CLIENT_AUTH, REFUSED),
    ],
)
def test_client_certificates(
    server: ServerProcess,
    door: Door,
    signer: str,
    made: datetime,
    lifetime: timedelta,
    usage: x509.ObjectIdentifier,
    expected: tuple[int, str],
) -> None:
    if signer == "foreign":
        signing = new_authority("foreign", NOW, RANDOMNESS)
    elif signer == "namesake":  # the right name over a wrong key
        signing = Authority(new_key(), authority(server, "ca").certificate)
    else:
        signing = authority(server, signer)
    key = new_key()
    wanted = Wanted(common_name="dora", organizations=("testers",), usages=(usage,))
    certificate = issue(signing, key.public_key(), wanted, made, RANDOMNESS, lifetime)
    assert who(door, pair=key_pem(key) + certificate_pem(certificate)) == expected


def encoded(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_tokens_and_their_forgeries(server: ServerProcess, door: Door, kubectl: Kubectl) -> None:
    kubectl.run("create", "serviceaccount", "robot")
    token = kubectl.run("create", "token", "robot").strip()
    name = f"system:serviceaccount:{kubectl.namespace}:robot"
    assert who(door, token) == (201, name)
    head, claims, signature = token.split(".")
    header = jwt.get_unverified_header(token)
    content = jwt.decode(token, options={"verify_signature": False})
    # The public key, which everybody knows, as the secret of a symmetric signature.
    key = read_key((server.folder / "data" / "pki" / "service-account.key").read_bytes())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = f"{encoded({**header, 'alg': 'HS256'})}.{claims}"
    symmetric = base64.urlsafe_b64encode(hmac.digest(public, signed.encode(), "sha256"))
    forged = {
        "none": f"{encoded({**header, 'alg': 'none'})}.{claims}.",
        "none, signed": f"{encoded({**header, 'alg': 'none'})}.{claims}.{signature}",
        "symmetric": f"{signed}.{symmetric.rstrip(b'=').decode()}",
        "another key": jwt.encode(content, new_key(), "ES256", {"kid": header["kid"]}),
        "another subject": f"{head}.{encoded({**content, 'sub': 'admin'})}.{signature}",
        "no signature": f"{head}.{claims}.",
        "noise": "a.b.c",
    }
    assert {why: who(door, one) for why, one in forged.items()} == dict.fromkeys(forged, REFUSED)
    elsewhere = kubectl.run("create", "token", "robot", "--audience=vault").strip()
    assert who(door, elsewhere) == REFUSED
    kubectl.run("delete", "serviceaccount", "robot")
    assert who(door, token) == REFUSED


def test_a_token_ends_with_its_pod(door: Door, kubectl: Kubectl) -> None:
    kubectl.run("create", "serviceaccount", "robot")
    overrides = '--overrides={"spec":{"serviceAccountName":"robot"}}'
    kubectl.run("run", "alone", "--image=x", overrides)
    bound = ("--bound-object-kind=Pod", "--bound-object-name=alone")
    token = kubectl.run("create", "token", "robot", *bound).strip()
    name = f"system:serviceaccount:{kubectl.namespace}:robot"
    assert who(door, token) == (201, name)
    kubectl.run("delete", "pod", "alone", "--force", "--grace-period=0")
    assert who(door, token) == REFUSED


TOKEN_SECRET = """
apiVersion: v1
kind: Secret
type: kubernetes.io/service-account-token
metadata: {name: permanent, annotations: {kubernetes.io/service-account.name: robot}}
"""


def test_a_permanent_token_ends_with_its_secret(door: Door, kubectl: Kubectl) -> None:
    kubectl.run("create", "serviceaccount", "robot")
    kubectl.run("apply", "-f", "-", text=TOKEN_SECRET)
    kubectl.run("wait", "--for=jsonpath={.data.token}", "secret/permanent", "--timeout=10s")
    shown = kubectl.run("get", "secret", "permanent", "-o", "jsonpath={.data.token}")
    token = base64.b64decode(shown).decode()
    assert who(door, token) == (201, f"system:serviceaccount:{kubectl.namespace}:robot")
    kubectl.run("delete", "secret", "permanent")
    assert who(door, token) == REFUSED


def as_token(kubectl: Kubectl, door: Door, token: str, folder: Path) -> Kubectl:
    """Return kubectl with a token and nothing else to show."""
    (folder / "ca.crt").write_bytes(door.ca_pem)
    (folder / "empty").write_text("")
    return kubectl.showing(
        "--kubeconfig",
        str(folder / "empty"),
        f"--server={door.url}",
        f"--certificate-authority={folder / 'ca.crt'}",
        f"--token={token}",
    )


def test_a_service_account_and_its_rights(door: Door, kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl.run("create", "serviceaccount", "robot")
    token = kubectl.run("create", "token", "robot", "--duration=1h").strip()
    robot = as_token(kubectl, door, token, tmp_path)
    name = f"system:serviceaccount:{kubectl.namespace}:robot"
    assert name in robot.run("auth", "whoami")
    assert robot.run("auth", "can-i", "get", "pods", codes=(1,)).startswith("no")
    refused = robot.refused("get", "pods")
    assert f'pods is forbidden: User "{name}" cannot list resource "pods"' in refused
    kubectl.run("create", "role", "reader", "--verb=get,list", "--resource=pods")
    account = f"--serviceaccount={kubectl.namespace}:robot"
    kubectl.run("create", "rolebinding", "robot", "--role=reader", account)
    assert robot.run("auth", "can-i", "get", "pods") == "yes\n"
    assert "[get list]" in robot.run("auth", "can-i", "--list")
    assert "No resources found" in robot.run("get", "pods")
    assert robot.run("auth", "can-i", "delete", "pods", codes=(1,)).startswith("no")


def test_acting_as_others(kubectl: Kubectl) -> None:
    shown = json.loads(
        kubectl.run(
            *("auth", "whoami", "-o", "json", "--as=carl"),
            *("--as-group=cooks", "--as-group=waiters", "--as-uid=7"),
        )
    )
    assert shown["status"]["userInfo"] == {
        "username": "carl",
        "uid": "7",
        "groups": ["cooks", "waiters", "system:authenticated"],
    }
    eve = kubectl.showing("--as=eve")
    kubectl.run("create", "role", "reader", "--verb=list", "--resource=secrets")
    kubectl.run("create", "rolebinding", "eve", "--role=reader", "--user=eve")
    eve.run("get", "secrets")
    assert "cannot get" in eve.refused("get", "secret", "x")


def test_nobody_gives_away_more_than_they_have(kubectl: Kubectl) -> None:
    binding = ("rolebindings.rbac.authorization.k8s.io", "roles.rbac.authorization.k8s.io")
    kubectl.run("create", "role", "binder", "--verb=create", f"--resource={','.join(binding)}")
    kubectl.run("create", "rolebinding", "eve", "--role=binder", "--user=eve")
    eve = kubectl.showing("--as=eve")
    refused = eve.refused("create", "rolebinding", "all", "--clusterrole=admin", "--user=eve")
    assert "is attempting to grant RBAC permissions not currently held" in refused
    refused = eve.refused("create", "role", "all", "--verb=get", "--resource=secrets")
    assert "is attempting to grant RBAC permissions not currently held" in refused
    eve.run("create", "rolebinding", "same", "--role=binder", "--user=ben")


def test_a_right_to_one_name_is_no_right_to_all(door: Door, kubectl: Kubectl) -> None:
    for name in ("mine", "yours"):
        kubectl.run("create", "secret", "generic", name)
    one = ("--verb=list,watch", "--resource=secrets", "--resource-name=mine")
    kubectl.run("create", "role", "one", *one)
    kubectl.run("create", "rolebinding", "eve", "--role=one", "--user=eve")
    path = f"/api/v1/namespaces/{kubectl.namespace}/secrets"

    def names(selector: str, root: str = path) -> Any:
        query = f"fieldSelector={selector}&timeoutSeconds=1"
        status, body = door.answer("GET", f"{root}?{query}", headers={"Impersonate-User": "eve"})
        return [item["metadata"]["name"] for item in body["items"]] if status == 200 else status

    assert names("metadata.name=mine") == ["mine"]
    assert names("metadata.name=yours") == 403
    assert names("metadata.name!=mine") == 403
    assert names(r"type!=a\,metadata.name=mine") == 403
    assert names(r"type!=a%5C,metadata.name%3Dmine") == 403


NODE = '{"apiVersion":"v1","kind":"Node","metadata":{"name":"%s"}}'
POD = """
apiVersion: v1
kind: Pod
metadata: {name: here}
spec:
  nodeName: %s
  containers: [{name: a, image: x}]
  volumes: [{name: v, secret: {secretName: needed}}]
"""


def test_a_node_sees_what_its_own_pods_need(door: Door, kubectl: Kubectl) -> None:
    for node in ("one", "two"):
        kubectl.run("apply", "-f", "-", text=NODE % node)
    try:
        for name in ("needed", "other"):
            kubectl.run("create", "secret", "generic", name)
        kubectl.run("apply", "-f", "-", text=POD % "one")
        one, two = (
            kubectl.showing(f"--as=system:node:{name}", "--as-group=system:nodes")
            for name in ("one", "two")
        )
        assert "needed" in one.run("get", "secret", "needed")
        expected = "no relationship found between node '%s' and this object"
        assert expected % "one" in one.refused("get", "secret", "other")
        assert expected % "two" in two.refused("get", "secret", "needed")
        assert "here" in one.run("get", "pods", "-A", "--field-selector=spec.nodeName=one")
        refused = two.refused("get", "pods", "-A", "--field-selector=spec.nodeName=one")
        assert "can only list/watch pods with spec.nodeName field selector" in refused
        acting = {"Impersonate-User": "system:node:two", "Impersonate-Group": "system:nodes"}
        merge = {"Content-Type": "application/merge-patch+json", **acting}
        status, body = door.answer("PATCH", "/api/v1/nodes/one", b'{"metadata":{}}', merge)
        assert status == 403
        assert "is not allowed to modify node" in body["message"]
    finally:
        kubectl.run("delete", "pod", "here", "--force", "--grace-period=0", "--ignore-not-found")
        kubectl.run("delete", "node", "one", "two")


def test_a_node_cannot_lead_the_server_to_itself(door: Door, kubectl: Kubectl) -> None:
    merge = {
        "Content-Type": "application/merge-patch+json",
        "Impersonate-User": "system:node:astray",
        "Impersonate-Group": "system:nodes",
    }
    kubectl.run("apply", "-f", "-", text=NODE % "astray")
    try:
        for address in (
            "127.0.0.1",
            "::ffff:127.0.0.1",
            "localhost",
            preferred_source() or LOOPBACK,
        ):
            status = {
                "addresses": [{"type": "InternalIP", "address": address}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": door.address[1]}},
            }
            patch = json.dumps({"status": status}).encode()
            assert door.answer("PATCH", "/api/v1/nodes/astray/status", patch, merge)[0] == 200
            for port in ("", f":{door.address[1]}"):
                path = f"/api/v1/nodes/astray{port}/proxy/api/v1/secrets"
                code, body = door.answer("GET", path)
                assert (code, body["message"]) == (400, "address not allowed"), address
    finally:
        kubectl.run("delete", "node", "astray")


CSR = """
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: %s}
spec: {request: %s, signerName: kubernetes.io/kube-apiserver-client, usages: [client auth]}
"""


def request_of(name: str, group: str) -> tuple[bytes, str]:
    key = new_key()
    pem = signing_request(key, Wanted(common_name="dora", organizations=(group,)))
    return key_pem(key), CSR % (name, base64.b64encode(pem).decode())


def test_certificates_are_given_to_those_who_were_approved(door: Door, kubectl: Kubectl) -> None:
    key, manifest = request_of("approved", "testers")
    kubectl.run("apply", "-f", "-", text=manifest)
    try:
        assert "Pending" in kubectl.run("get", "csr", "approved")
        kubectl.run("certificate", "approve", "approved")
        issued = "--for=jsonpath={.status.certificate}"
        kubectl.run("wait", issued, "csr/approved", "--timeout=10s")
        assert "Approved,Issued" in kubectl.run("get", "csr", "approved")
        shown = kubectl.run("get", "csr", "approved", "-o", "jsonpath={.status.certificate}")
        assert who(door, pair=key + base64.b64decode(shown)) == (201, "dora")
    finally:
        kubectl.run("delete", "csr", "approved")
    _, manifest = request_of("denied", "testers")
    kubectl.run("apply", "-f", "-", text=manifest)
    kubectl.run("certificate", "deny", "denied")
    assert "Denied" in kubectl.run("get", "csr", "denied")
    kubectl.run("delete", "csr", "denied")
    _, manifest = request_of("masters", "system:masters")
    refused = kubectl.refused("apply", "-f", "-", text=manifest)
    assert "use of kubernetes.io/kube-apiserver-client signer with system:masters group" in refused
    eve = kubectl.showing("--as=eve")
    assert "forbidden" in eve.refused("certificate", "approve", "approved")
