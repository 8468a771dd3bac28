"""A machine over TLS: from the CA certificates to a node, and out again when its Node is deleted."""

import ssl
from pathlib import Path

import pytest
from aiohttp import ClientPayloadError, ClientSession
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate, load_pem_x509_certificate
from fakes.joining import NODES, JoiningCluster
from fakes.serving import parts_of, serving

from kubelite.api.auth.certificates import (
    Wanted,
    authority_hash,
    key_pem,
    new_key,
    trusted_by_hash,
)
from kubelite.api.http.ca_page import ca_pages
from kubelite.api.kinds.core.nodes import Node


@pytest.fixture
async def cluster(tmp_path: Path) -> JoiningCluster:
    return JoiningCluster(tmp_path)


async def test_an_open_connection_ends_its_rights_with_its_node(
    cluster: JoiningCluster, tmp_path: Path
) -> None:
    plane = cluster.plane
    async with cluster:
        parts = parts_of(
            plane.verbs,
            authenticator=plane.authenticator,
            authorizer=plane.authorizer,
            more_pages=ca_pages(lambda: cluster.pki.ca_pem),
        )
        async with serving(parts, ssl_context=cluster.pki.server_context()) as (api, port):
            plane.on_release(lambda: api.drop(plane.authenticator.counts))
            server = f"https://127.0.0.1:{port}"
            unverified = ssl._create_unverified_context()
            async with (
                ClientSession(server) as session,
                session.get("/cacerts", ssl=unverified) as reply,
            ):
                bundle = await reply.read()
            authority = trusted_by_hash(bundle, cluster.pki.ca_hash)
            assert authority is not None
            assert authority_hash(authority) == cluster.pki.ca_hash
            key, token = new_key(), await cluster.token(usage_once="true")
            request = await cluster.ask(
                await cluster.joiner(token), Wanted("system:node:one", NODES), key=key
            )
            der = await cluster.certificate(request)
            pair = tmp_path / "pair.pem"
            pair.write_bytes(
                key_pem(key) + load_der_x509_certificate(der).public_bytes(Encoding.PEM)
            )
            verified = ssl.create_default_context(cadata=bundle.decode())
            verified.load_cert_chain(pair)
            async with ClientSession(server) as session:
                body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "one"}}
                async with session.post("/api/v1/nodes", json=body, ssl=verified) as reply:
                    assert reply.status == 201
                async with session.get("/api/v1/nodes/one", ssl=verified) as reply:
                    assert reply.status == 200
                await cluster.settle()
                watch = await session.get(
                    "/api/v1/nodes?watch=1&fieldSelector=metadata.name=one", ssl=verified
                )
                assert b"ADDED" in await watch.content.readline()
                await cluster.root.delete(Node, "one")
                await cluster.settle()
                with pytest.raises(ClientPayloadError):  # cut, not ended
                    await watch.content.read()
                watch.close()
                for path in ("/api/v1/nodes/one", "/api/v1/nodes"):
                    async with session.get(path, ssl=verified) as reply:
                        assert reply.status == 401
                        assert 'the node "one" was deleted' in (await reply.json())["message"]
                async with session.post("/api/v1/nodes", json=body, ssl=verified) as reply:
                    assert reply.status == 401
                headers = {"Authorization": f"Bearer {token}"}
                path = "/api/v1/namespaces/kube-system/configmaps/kubelite-cluster"
                async with session.get(path, ssl=verified, headers=headers) as reply:
                    assert reply.status == 200  # the token still counts, for those who come back


def test_a_retired_authority_is_found_by_its_own_hash(tmp_path: Path) -> None:
    """Tokens that were made before the cluster's CA was replaced stay good."""
    pki = JoiningCluster(tmp_path).pki
    former = pki.ca_hash
    pki.rotate_authority()
    assert former != pki.ca_hash
    found = trusted_by_hash(pki.ca_pem, former)
    assert found is not None
    assert authority_hash(found) == former
    assert authority_hash(load_pem_x509_certificate(pki.ca_pem)) == pki.ca_hash
