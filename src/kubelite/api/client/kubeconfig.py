"""Reads a kubeconfig: where the API server is, how to trust it, and who calls.

Client certificates, tokens and token files are understood, embedded or as files; programs that print credentials are
not run.
"""

import base64
import os
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

FILE_BYTES_MAX = 1024 * 1024


class KubeconfigInvalid(Exception):
    """The kubeconfig cannot be read or used; the message is one line for the user."""


class Access(Struct, frozen=True):
    """What a client needs to reach a server."""

    server: str
    ca_pem: bytes  # empty: the server proves itself to the authorities of the host
    ssl_context: ssl.SSLContext
    token: Callable[[], str] | None


def read_kubeconfig(path: Path, context: str = "") -> Access:
    """Return the access of a context, by default the current one. Blocks. Raises KubeconfigInvalid."""
    document = _document(path)
    name = context or _text(document, "current-context", path)
    chosen = _named(document, "contexts", "context", name, path)
    cluster = _named(document, "clusters", "cluster", _text(chosen, "cluster", path), path)
    user = _named(document, "users", "user", _text(chosen, "user", path), path)
    server = _text(cluster, "server", path)
    if not server.startswith("https://"):
        raise _unusable(path, f"the server {server} is not an https address")
    if cluster.get("insecure-skip-tls-verify"):
        raise _unusable(path, "it trusts any server (insecure-skip-tls-verify)")
    ca_pem = _content(cluster, "certificate-authority", path)
    try:
        tls = _tls(ca_pem, _content(user, "client-certificate", path), user, path)
    except (ssl.SSLError, ValueError) as error:
        raise _unusable(path, f"its certificates or its key are damaged: {error}") from error
    return Access(server.rstrip("/"), ca_pem, tls, _token(user, path))


def _document(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        hint = "; run as root, or give one with --kubeconfig" if _is_for_root(error) else ""
        raise KubeconfigInvalid(f"cannot read kubeconfig {path}: {error.strerror}{hint}") from error
    if len(text) > FILE_BYTES_MAX:
        raise _unusable(path, "it is too large")
    try:
        document = yaml.safe_load(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise _unusable(path, f"it is no YAML: {' '.join(reason.split())[:200]}") from error
    if not isinstance(document, dict):
        raise _unusable(path, "it holds no clusters and users")
    return document


def _is_for_root(error: OSError) -> bool:
    return isinstance(error, PermissionError) and os.geteuid() != 0


def _named(
    document: Mapping[str, Any], plural: str, field: str, name: str, path: Path
) -> Mapping[str, Any]:
    entries = document.get(plural)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("name") == name:
            found = entry.get(field)
            if isinstance(found, dict):
                return found
    raise _unusable(path, f'there is no {field} "{name}" in it')


def _text(entry: Mapping[str, Any], field: str, path: Path) -> str:
    value = entry.get(field)
    if not isinstance(value, str) or not value:
        raise _unusable(path, f"{field} is missing")
    return value


def _content(entry: Mapping[str, Any], field: str, path: Path) -> bytes:
    """Return what is embedded as FIELD-data, or in the file FIELD beside the kubeconfig; empty if there is neither."""
    embedded, file = entry.get(f"{field}-data"), entry.get(field)
    try:
        if embedded:
            return base64.b64decode(str(embedded), validate=True)
        return (path.parent / str(file)).read_bytes() if file else b""
    except ValueError as error:
        raise _unusable(path, f"{field}-data is no base64") from error
    except OSError as error:
        raise _unusable(path, f"cannot read {error.filename}: {error.strerror}") from error


def _tls(ca_pem: bytes, chain: bytes, user: Mapping[str, Any], path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_pem:
        context.load_verify_locations(cadata=ca_pem.decode())
    else:
        context.load_default_certs()
    if chain:
        _load_pair(context, chain + b"\n" + _content(user, "client-key", path))
    return context


def _load_pair(context: ssl.SSLContext, pem: bytes) -> None:
    """Load a certificate and its key from memory: ssl reads files only, and a key belongs in no temporary one."""
    descriptor = os.memfd_create("pair", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _token(user: Mapping[str, Any], path: Path) -> Callable[[], str] | None:
    if token := user.get("token"):
        return lambda: str(token)
    if user.get("tokenFile"):
        token = _content({"token": user["tokenFile"]}, "token", path).decode().strip()
        return lambda: token
    return None


def _unusable(path: Path, reason: str) -> KubeconfigInvalid:
    return KubeconfigInvalid(f"cannot use kubeconfig {path}: {reason}")
