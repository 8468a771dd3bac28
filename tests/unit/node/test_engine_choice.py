"""Which container engine a node uses."""

import asyncio
import socket
from pathlib import Path

import pytest

from kubelite.node import engine_choice
from kubelite.node.engine_choice import (
    SYSTEM,
    USED_FILE,
    Engine,
    Situation,
    Wanted,
    choose,
    decide,
    note_use,
    own_engines,
    used_engines,
)

# A header and a message on the first stream.
ANSWERED = b"\0\0\1\1\4\0\0\0\1h" + b"\0\0\5\0\0\0\0\0\1....."
OWN = own_engines(Path("/data/agent"), Path("/run/kubelite"))
OWN_DOCKER, OWN_CONTAINERD = (engine for engine, _ in OWN.all)
DOCKER, CONTAINERD, CRIO, PODMAN = (Engine(dialect, path) for dialect, path in SYSTEM)
BOTH = {"dockerd", "containerd"}
ALL = {DOCKER, CONTAINERD, CRIO, PODMAN}


def chosen(
    *answering: Engine,
    installed: set[str] | None = None,
    used: tuple[Engine, ...] = (),
    has_pods: bool = False,
    wanted: Wanted | None = None,
) -> Engine:
    seen = Situation(set(answering), BOTH if installed is None else installed, used, has_pods)
    return decide(wanted or Wanted(), OWN, seen)


def test_an_engine_that_answers_is_taken_in_the_order_of_the_table() -> None:
    assert chosen(*ALL) == DOCKER
    assert chosen(PODMAN, CRIO, CONTAINERD) == CONTAINERD
    assert chosen(PODMAN, CRIO) == CRIO
    assert chosen(PODMAN) == PODMAN


def test_without_one_an_installed_engine_is_started() -> None:
    assert chosen() == OWN_DOCKER
    assert chosen(installed={"containerd"}) == OWN_CONTAINERD
    assert chosen(installed=set()) == DOCKER  # its absence is then the node's condition


def test_an_own_engine_that_runs_is_adopted() -> None:
    assert chosen(DOCKER, OWN_CONTAINERD) == OWN_CONTAINERD
    assert chosen(DOCKER, OWN_DOCKER, OWN_CONTAINERD) == OWN_DOCKER


def test_the_engine_of_the_last_time_comes_before_what_answers() -> None:
    assert chosen(DOCKER, used=(OWN_CONTAINERD,)) == OWN_CONTAINERD
    assert chosen(DOCKER, CONTAINERD, used=(CONTAINERD,)) == CONTAINERD
    assert chosen(DOCKER, CONTAINERD, used=(CONTAINERD, OWN_DOCKER)) == CONTAINERD


def test_a_node_waits_for_the_engine_that_has_its_pods() -> None:
    # containerd is a service of its own, and up before Docker at each boot
    assert chosen(CONTAINERD, used=(DOCKER,), has_pods=True) == DOCKER
    assert chosen(CONTAINERD, used=(DOCKER,)) == CONTAINERD
    assert chosen(CONTAINERD, installed=set(), used=(OWN_DOCKER,)) == CONTAINERD


@pytest.mark.parametrize(
    ("name", "answering", "dialect"),
    [
        ("/run/x.sock", [Engine("docker", Path("/run/x.sock"))], "docker"),
        ("/run/x.sock", [Engine("cri", Path("/run/x.sock"))], "cri"),
        ("/run/x.sock", [], "cri"),
        ("/run/user/0/docker.sock", [], "docker"),
        ("/run/other/podman.sock", [DOCKER], "docker"),
    ],
)
def test_a_named_socket_is_used_in_the_dialect_that_answers(
    name: str, answering: list[Engine], dialect: str
) -> None:
    engine = chosen(*answering, used=(OWN_DOCKER,), wanted=Wanted(Path(name)))
    assert (engine.dialect, engine.socket, engine.is_own) == (dialect, Path(name), False)


def test_a_wish_wins_over_everything() -> None:
    wanted = Wanted(Path("/run/x.sock"), "docker")
    assert chosen(Engine("cri", Path("/run/x.sock")), wanted=wanted).dialect == "docker"
    assert chosen(DOCKER, used=(DOCKER,), wanted=Wanted(own="containerd")) == OWN_CONTAINERD
    assert chosen(CONTAINERD, used=(CONTAINERD,), wanted=Wanted(own="docker")) == OWN_DOCKER


def test_the_program_of_an_engine_is_known_if_it_is_ours() -> None:
    assert OWN.program(OWN_CONTAINERD) is OWN.containerd
    assert OWN.program(CONTAINERD) is None


def test_used_engines_are_remembered_the_last_first(tmp_path: Path) -> None:
    assert used_engines(tmp_path) == ()
    assert note_use(tmp_path, DOCKER) == ()
    assert note_use(tmp_path, OWN_CONTAINERD) == (DOCKER,)
    assert note_use(tmp_path, OWN_CONTAINERD) == (DOCKER,)
    assert used_engines(tmp_path) == (OWN_CONTAINERD, DOCKER)
    assert note_use(tmp_path, DOCKER) == (OWN_CONTAINERD,)
    assert used_engines(tmp_path) == (DOCKER, OWN_CONTAINERD)


@pytest.mark.parametrize("text", ["", "{", "[5]", '[{"dialect":"rkt","socket":"/x"}]', "[" * 9999])
def test_a_damaged_note_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / USED_FILE).write_text(text)
    assert used_engines(tmp_path) == ()


async def test_the_host_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that answers in HTTP/2, one in HTTP/1, one that says nothing and one that is not there."""
    monkeypatch.setattr(engine_choice, "SYSTEM", ())
    monkeypatch.setattr("kubelite.node.cri_socket.ANSWER_SECONDS", 0.2)
    monkeypatch.setattr("kubelite.node.engine.ANSWER_SECONDS", 0.2)
    own = own_engines(tmp_path / "agent", tmp_path / "run")

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_http2 = (await reader.readline()).startswith(b"PRI")
        writer.write(ANSWERED if is_http2 else b"HTTP/1.1 400 Bad\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async def docker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nOK")
        writer.close()
        await writer.wait_closed()

    async with (
        await asyncio.start_unix_server(speak, tmp_path / "cri"),
        await asyncio.start_unix_server(docker, tmp_path / "docker"),
    ):
        for name in ("cri", "docker"):
            engine = await choose(Wanted(tmp_path / name), own, tmp_path)
            assert engine == Engine(name, tmp_path / name)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent"))
        silent.listen()
        for name in ("silent", "absent"):
            engine = await choose(Wanted(tmp_path / name), own, tmp_path)
            assert engine == Engine("cri", tmp_path / name)
