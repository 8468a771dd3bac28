"""Tells a containerd of kubelite's own how hosts of registries.yaml are reached: a ``hosts.toml`` for each.

Only scheme, path and TLS: mirrors are tried by the node itself, since containerd would give a mirror the login of the
registry, or none, and knows no rewrites. It reads the files anew at each pull.
"""

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec.structs import replace

from kubelite.node.images.names import DOCKER_HUB
from kubelite.node.images.registries import (
    ANY,
    API_PATH,
    HUB_HOST,
    TLS,
    Endpoint,
    Registries,
    endpoint_of,
)
from kubelite.node.replaced_file import replace_file

HEADER = "# Written by kubelite from registries.yaml. Changes are lost."
FILE = "hosts.toml"
DEFAULT_FOLDER = "_default"  # of the hosts without a folder


def hosts_files(registries: Registries) -> dict[str, str]:
    """Return the content of each file by the name of its folder. Pure."""
    endpoints = {one.registry: one for one in map(_addressed, _endpoints(registries))}
    hosts = {DOCKER_HUB if host == HUB_HOST else host for host in registries.configs}
    found = {}
    for host in sorted({*hosts, *endpoints} - {ANY}):
        endpoint = endpoints.get(host) or endpoint_of(host, "configs")
        tls = registries.config(host).tls
        # Without a file https is spoken, and http to loopback addresses.
        if tls != TLS() or endpoint != endpoint_of(host, "configs"):
            found[host] = _text(endpoint, tls)
    if ANY in registries.configs and registries.configs[ANY].tls != TLS():
        found[DEFAULT_FOLDER] = _text(None, registries.configs[ANY].tls)
    return found


def _endpoints(registries: Registries) -> Iterable[Endpoint]:
    for mirror in registries.mirrors.values():
        yield from mirror.endpoints


def _addressed(endpoint: Endpoint) -> Endpoint:
    """Return an endpoint without what follows /v2/: that is in the name under which an image is pulled."""
    return replace(endpoint, path=API_PATH) if endpoint.is_nameable else endpoint


def _text(endpoint: Endpoint | None, tls: TLS) -> str:
    lines = [HEADER]
    if endpoint is not None:
        lines.append(f"server = {_quoted(endpoint.url)}")
        if not endpoint.is_nameable:
            lines.append("override_path = true")
    lines.append('capabilities = ["pull", "resolve"]')
    if tls.ca_file:
        lines.append(f"ca = [{_quoted(tls.ca_file)}]")
    if tls.cert_file:
        pair = [tls.cert_file, *([tls.key_file] if tls.key_file else [])]
        lines.append(f"client = [[{', '.join(map(_quoted, pair))}]]")
    if tls.insecure_skip_verify:
        lines.append("skip_verify = true")
    return "\n".join([*lines, ""])


def _quoted(text: str) -> str:
    # Strings of JSON are strings of TOML but for one character that JSON does not escape.
    return json.dumps(text).replace("\x7f", "\\u007f")


def write_hosts(folder: Path, registries: Registries) -> None:
    """Write the files, and remove those of an earlier run; those of others are left alone. Blocking; raises OSError."""
    files = hosts_files(registries)
    for path in folder.glob(f"*/{FILE}"):
        if path.parent.name not in files and _is_own(path):
            shutil.rmtree(path.parent)
    _write(folder, files)


def _write(folder: Path, files: Mapping[str, str]) -> None:
    for host, text in files.items():
        path = folder / host / FILE
        if path.exists() and not _is_own(path):
            continue
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, text)


def _is_own(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as opened:
        return opened.readline(len(HEADER) + 1).rstrip("\n") == HEADER
