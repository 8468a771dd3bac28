"""The program that works with keys, as a process."""

import asyncio
import errno
import stat
from pathlib import Path

import pytest
from cryptography import x509
from fakes.fake_client import FakeClient
from fakes.join_server import NOW, authority
from fakes.keys import InProcess

from kubelite.api.auth.certificates import (
    Wanted,
    alternative_names,
    certificate_pem,
    common_name,
    issue,
)
from kubelite.joining import keys, requests
from kubelite.joining.files import CLIENT, AgentFiles
from kubelite.joining.key_program import ensure_key
from kubelite.joining.keys import (
    Certificate,
    CertificateUnreadable,
    FileUnusable,
    KeyProgram,
    KeyProgramFailed,
    KeyUnusable,
    OfAnotherKey,
    Read,
    Signed,
    SignRequest,
    Subject,
    several,
)
from kubelite.randomness import SeededRandomness

SUBJECT = Subject("system:node:n", ("system:nodes",), ("n",), ("192.0.2.1",))


def test_one_process_answers_and_tells_no_key(tmp_path: Path) -> None:
    program, key = KeyProgram(), tmp_path / "node.key"
    with several(program):
        signed = program.ask(SignRequest(str(key), SUBJECT))
        assert isinstance(signed, Signed)
        request = x509.load_pem_x509_csr(signed.pem)
        assert request.is_signature_valid
        assert common_name(request.subject) == "system:node:n"
        assert alternative_names(request) == (["n"], ["192.0.2.1"])
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        wanted = Wanted("system:node:n", dns_names=("n",), addresses=("192.0.2.1",))
        public = ensure_key(key).public_key()
        leaf = issue(authority(now=NOW), public, wanted, NOW, SeededRandomness(1))
        first = program._conversation
        assert program.ask(Read(str(key), certificate_pem(leaf))) == Certificate(
            "system:node:n",
            ("n",),
            ("192.0.2.1",),
            f"{leaf.serial_number:x}",
            leaf.not_valid_before_utc,
            leaf.not_valid_after_utc,
        )
        other = tmp_path / "network.key"
        assert isinstance(program.ask(SignRequest(str(other), SUBJECT)), Signed)
        assert program.ask(Read(str(other), certificate_pem(leaf))) == OfAnotherKey()
        assert program._conversation is first
    assert program._conversation is None


def test_what_it_cannot_do_is_an_answer(tmp_path: Path) -> None:
    program, key = InProcess(), tmp_path / "node.key"
    absent = program.ask(Read(str(key), b""))
    assert absent == FileUnusable(errno.ENOENT, str(key))
    key.write_text("damaged")
    assert isinstance(program.ask(SignRequest(str(key), SUBJECT)), KeyUnusable)
    assert key.read_text() == "damaged"
    key.unlink()
    ensure_key(key)
    assert isinstance(program.ask(Read(str(key), b"damaged")), CertificateUnreadable)
    nowhere = program.ask(SignRequest(str(tmp_path / "none" / "node.key"), SUBJECT))
    assert isinstance(nowhere, FileUnusable)
    assert nowhere.number == errno.ENOENT


def test_a_process_that_was_killed_is_started_again(tmp_path: Path) -> None:
    program, question = KeyProgram(), SignRequest(str(tmp_path / "node.key"), SUBJECT)
    with several(program):
        assert program._conversation is not None
        program._conversation._process.kill()
        with pytest.raises(KeyProgramFailed, match="ended"):
            program.ask(question)
        assert isinstance(program.ask(question), Signed)
        program.pause()
        assert program._conversation is None
        assert isinstance(program.ask(question), Signed)
    assert program._conversation is None


def test_a_single_question_leaves_no_process(tmp_path: Path) -> None:
    program = KeyProgram()
    assert isinstance(program.ask(SignRequest(str(tmp_path / "node.key"), SUBJECT)), Signed)
    assert program._conversation is None


def test_a_program_that_is_missing_is_an_error_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "PROGRAM", ("/absent/python",))
    program = KeyProgram()
    for _ in range(2):
        with pytest.raises(KeyProgramFailed, match="cannot run python"):
            program.begin()
        with pytest.raises(KeyProgramFailed, match="cannot run python"):
            program.ask(SignRequest(str(tmp_path / "node.key"), SUBJECT))


async def test_a_long_wait_for_a_decision_holds_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "PATIENCE_SECONDS", 0.0)
    program = InProcess()
    files = AgentFiles(tmp_path / "agent", program)
    files.prepare()
    asking = asyncio.ensure_future(
        requests.obtain(FakeClient(), requests.node_client("n"), files, CLIENT)
    )
    while not program.pauses:
        await asyncio.sleep(0)
    assert not asking.done()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
