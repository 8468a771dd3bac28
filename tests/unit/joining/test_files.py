"""What a joined machine keeps on disk."""

import os
import stat
from pathlib import Path

import pytest
from cryptography import x509
from fakes.join_server import NOW, authority, pem_of
from fakes.keys import InProcess

from kubelite.api.auth.certificates import Wanted, certificate_pem, issue, new_key, public_key_hash
from kubelite.config import ClusterSettings
from kubelite.joining.files import (
    CLIENT,
    NETWORK,
    SERVING,
    AgentFiles,
    AlreadyRuns,
    Joined,
    KeyDamaged,
    Leaf,
)
from kubelite.joining.key_program import ensure_key
from kubelite.joining.keys import Subject
from kubelite.joining.settings import ClusterInfo
from kubelite.randomness import SeededRandomness

CLUSTER = ClusterInfo(ClusterSettings("10.42.0.0/16", "10.43.0.0/16", "10.43.0.10", "c"), "0.1.0")


@pytest.fixture
def files(tmp_path: Path) -> AgentFiles:
    made = AgentFiles(tmp_path / "agent", InProcess())
    made.prepare()
    return made


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _requested_key(files: AgentFiles, leaf: Leaf) -> str:
    return public_key_hash(
        x509.load_pem_x509_csr(files.signing_request(leaf, Subject("system:node:n")))
    )


def test_keys_are_made_once_and_nobody_else_may_read_them(files: AgentFiles) -> None:
    made = _requested_key(files, CLIENT)
    assert _requested_key(files, SERVING) == made
    assert _requested_key(files, NETWORK) != made
    assert {path.name: _mode(path) for path in files.pki.iterdir()} == {
        "node.key": 0o600,
        "network.key": 0o600,
    }
    assert _mode(files.pki) == _mode(files.folder) == 0o700
    files.key_path(CLIENT).write_text("damaged")
    # It is the identity of the machine, so it is never replaced by itself.
    with pytest.raises(KeyDamaged, match="PEM"):
        files.signing_request(CLIENT, Subject("system:node:n"))


def test_a_certificate_counts_for_its_key_only(files: AgentFiles) -> None:
    ca = authority(now=NOW)
    assert files.certificate(CLIENT) is None
    key = ensure_key(files.key_path(CLIENT))
    for public, is_ours in ((key.public_key(), True), (new_key().public_key(), False)):
        leaf = issue(ca, public, Wanted("system:node:n"), NOW, SeededRandomness(1))
        files.write_certificate(CLIENT, certificate_pem(leaf))
        assert (files.certificate(CLIENT) is not None) is is_ours
    files.path(CLIENT).write_text("damaged")
    assert files.certificate(CLIENT) is None


def test_the_authorities_and_the_cluster_are_remembered(files: AgentFiles) -> None:
    assert files.read_ca() == b""
    bundle = pem_of(authority(now=NOW))
    files.write_ca(bundle)
    assert files.read_ca() == bundle
    assert files.read_joined() is None
    joined = Joined(("https://a:6443",), "n", CLUSTER)
    files.write_joined(joined)
    assert files.read_joined() == joined
    (files.folder / "joined.json").write_text("{")
    assert files.read_joined() is None


def test_one_agent_at_a_time(files: AgentFiles) -> None:
    assert not files.has_joined
    held = files.lock()
    assert files.has_joined
    with pytest.raises(AlreadyRuns, match="an agent runs on it"):
        files.lock()
    os.close(held)
    os.close(files.lock())
