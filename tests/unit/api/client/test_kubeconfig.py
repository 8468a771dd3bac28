import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubelite.api.auth.certificates import (
    Wanted,
    certificate_pem,
    issue,
    key_pem,
    new_authority,
    new_key,
)
from kubelite.api.client.kubeconfig import KubeconfigInvalid, read_kubeconfig
from kubelite.randomness import SeededRandomness

NOW = datetime(2026, 9, 1, tzinfo=UTC)
RANDOM = SeededRandomness(1)
AUTHORITY = new_authority("ca", NOW, RANDOM)
KEY = new_key()
CERTIFICATE = issue(AUTHORITY, KEY.public_key(), Wanted("anna"), NOW, RANDOM)


def encoded(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


def document(**user: Any) -> dict[str, Any]:
    cluster = {
        "server": "https://192.0.2.1:6443/",
        "certificate-authority-data": encoded(certificate_pem(AUTHORITY.certificate)),
    }
    return {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user or {"token": "t"}}],
    }


def written(folder: Path, content: object) -> Path:
    path = folder / "config"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_embedded_certificates_leave_no_file(tmp_path: Path) -> None:
    pair = {
        "client-certificate-data": encoded(certificate_pem(CERTIFICATE)),
        "client-key-data": encoded(key_pem(KEY)),
    }
    access = read_kubeconfig(written(tmp_path, document(**pair)))
    assert access.server == "https://192.0.2.1:6443"
    assert access.ca_pem == certificate_pem(AUTHORITY.certificate)
    assert access.token is None
    assert [path.name for path in tmp_path.iterdir()] == ["config"]


def test_files_are_beside_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "crt").write_bytes(certificate_pem(CERTIFICATE))
    (tmp_path / "key").write_bytes(key_pem(KEY))
    (tmp_path / "ca").write_bytes(certificate_pem(AUTHORITY.certificate))
    (tmp_path / "token").write_text("secret\n")
    config = document(**{"client-certificate": "crt", "client-key": "key", "tokenFile": "token"})
    config["clusters"][0]["cluster"] = {
        "server": "https://a",
        "certificate-authority": str(tmp_path / "ca"),
    }
    access = read_kubeconfig(written(tmp_path, config))
    assert access.token is not None
    assert access.token() == "secret"


def broken(path: str, value: Any) -> dict[str, Any]:
    """Return the document with one value replaced; a path is its keys and numbers with dots."""
    config: Any = document()
    *parts, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place = config
    for part in parts:
        place = place[part]
    place[last] = value
    changed: dict[str, Any] = config
    return changed


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "it holds no clusters and users"),
        ("[1]", "it holds no clusters and users"),
        ("{", "it is no YAML"),
        ("[" * 5000, "it is no YAML: nested too deeply"),
        ("a: " + "x" * (1024 * 1024), "it is too large"),
        (broken("current-context", ""), "current-context is missing"),
        (broken("current-context", "there"), 'there is no context "there" in it'),
        (broken("contexts", {"a": 1}), 'there is no context "here" in it'),
        (broken("contexts.0.context.user", "nobody"), 'there is no user "nobody" in it'),
        (broken("clusters.0.cluster.server", "http://a"), "is not an https address"),
        (broken("clusters.0.cluster.server", 7), "server is missing"),
        (broken("clusters.0.cluster.insecure-skip-tls-verify", True), "it trusts any server"),
        (broken("clusters.0.cluster.certificate-authority-data", "?"), "is no base64"),
        (
            broken("clusters.0.cluster.certificate-authority-data", encoded(b"junk")),
            "its certificates or its key are damaged",
        ),
        (
            document(**{"client-certificate-data": encoded(certificate_pem(CERTIFICATE))}),
            "its certificates or its key are damaged",
        ),
        (document(**{"client-certificate": "missing"}), "missing: No such file or directory"),
        (document(tokenFile="missing"), "missing: No such file or directory"),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path: Path, content: object, reason: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(KubeconfigInvalid) as raised:
        read_kubeconfig(path)
    message = str(raised.value)
    assert message.startswith(f"cannot use kubeconfig {path}: ")
    assert reason in message
    assert "\n" not in message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigInvalid, match=r"cannot read kubeconfig .*: No such file"):
        read_kubeconfig(tmp_path / "missing")
    with pytest.raises(KubeconfigInvalid, match=r"cannot read kubeconfig .*: Is a directory"):
        read_kubeconfig(tmp_path)
