"""TLS contexts and kubeconfigs made from key and certificate files."""

import base64
import ssl
from pathlib import Path


def server_context(pair: Path, client_ca_pem: bytes, key: Path | None = None) -> ssl.SSLContext:
    """Return a server context: TLS 1.2 or later, client certificates optional but verified. Blocks.

    `pair` holds the certificate, and the key unless `key` does.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(pair, key)
    context.load_verify_locations(cadata=client_ca_pem.decode())
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def trust_in_handshakes(context: ssl.SSLContext, certificates_pem: bytes) -> None:
    """Let clients with certificates of more authorities in; who they are is not decided in the handshake."""
    context.load_verify_locations(cadata=certificates_pem.decode())


def client_context(
    ca_pem: bytes, pair: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """Return a client context that trusts only `ca_pem` and sends the certificate in `pair`, if given. Blocks.

    `pair` holds the certificate, and the key unless `key` does.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=ca_pem.decode())
    if pair is not None:
        context.load_cert_chain(pair, key)
    return context


def kubeconfig(*, server: str, ca_pem: bytes, user: str, certificate: bytes, key: bytes) -> str:
    """Return a kubeconfig as YAML, with keys and certificates embedded."""
    ca, crt, secret = (base64.b64encode(part).decode() for part in (ca_pem, certificate, key))
    return f"""apiVersion: v1
kind: Config
clusters:
- name: kubelite
  cluster:
    server: {server}
    certificate-authority-data: {ca}
contexts:
- name: kubelite
  context:
    cluster: kubelite
    user: {user}
current-context: kubelite
users:
- name: {user}
  user:
    client-certificate-data: {crt}
    client-key-data: {secret}
"""
