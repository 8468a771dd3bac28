import base64
from typing import Any

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.certificates import Wanted, new_key, signing_request
from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.auth.rbac import RBAC
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.rbac import ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject
from kubelite.api.registry.admission.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
)

PATH = "certificatesigningrequests.certificates.k8s.io"
SIGNER = "kubernetes.io/kube-apiserver-client"


def authorizer(*verbs: str, name: str = SIGNER) -> UnionAuthorizer:
    rule = PolicyRule(
        verbs=list(verbs),
        apiGroups=["certificates.k8s.io"],
        resources=["signers"],
        resourceNames=[name],
    )
    role = ClusterRole(metadata=ObjectMeta(name="r"), rules=[rule])
    binding = ClusterRoleBinding(
        metadata=ObjectMeta(name="b"),
        roleRef=RoleRef(kind="ClusterRole", name="r"),
        subjects=[Subject(kind="User", name="anna")],
    )
    return UnionAuthorizer(RBAC(FixedLookup([role, binding])))


def csr(*groups: str, request: bytes = b"", **status: Any) -> dict[str, Any]:
    pem = request or signing_request(new_key(), Wanted("anna", groups))
    spec = {"signerName": SIGNER, "request": base64.b64encode(pem).decode()}
    return {"metadata": {"name": "mine"}, "spec": spec, "status": status}


async def test_approval(ask: Any) -> None:
    item = csr()
    for who, refused in (
        (authorizer("approve"), False),
        (authorizer("approve", name="kubernetes.io/*"), False),
        (authorizer("sign"), True),
    ):
        asked = await ask(CertificateApproval(who), f"{PATH}/approval", item, old=item)
        assert (asked.error is not None) is refused
    refused = await ask(CertificateApproval(authorizer()), f"{PATH}/approval", item, old=item)
    assert f'user not permitted to approve requests with signerName "{SIGNER}"' in refused.refusal


async def test_signing(ask: Any) -> None:
    path, item = f"{PATH}/status", csr()
    signed = item | {"status": {"certificate": "x"}}
    assert (await ask(CertificateSigning(authorizer("sign")), path, signed, old=item)).item
    refused = await ask(CertificateSigning(authorizer("approve")), path, signed, old=item)
    assert f'user not permitted to sign requests with signerName "{SIGNER}"' in refused.refusal
    assert (await ask(CertificateSigning(authorizer()), path, item, old=item)).item


async def test_masters_cannot_be_asked_for(ask: Any) -> None:
    plugin = CertificateSubjectRestriction()
    assert (await ask(plugin, PATH, csr("team"))).item
    refused = await ask(plugin, PATH, csr("team", "system:masters"))
    assert f"use of {SIGNER} signer with system:masters group is not allowed" in refused.refusal
    assert "failed to parse CSR" in (await ask(plugin, PATH, csr(request=b"noise"))).refusal
