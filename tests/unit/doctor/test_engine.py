import socket
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from kubelite.doctor.engine import Choice, gather, judge
from kubelite.engine_config import WantedEngine
from unit.doctor.hosts import CONTROL_PLANE, SERVER, bad, in_folder

NONE = Choice("docker", "/var/run/docker.sock")
OWN = Choice("docker", "/run/kubelite/docker/docker.sock", True, False, "", "dockerd", True)
CONTAINERD = replace(OWN, dialect="cri", program="containerd")


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        (replace(NONE, answers=True, version="27.1"), []),
        (replace(NONE, answers=True), []),
        (NONE, ["error: no container engine answers: docker on /var/run/docker.sock"]),
        (
            replace(NONE, is_denied=True),
            [
                "note: not examined: the container engine (docker on /var/run/docker.sock): this user may not open it"
            ],
        ),
        (OWN, []),
        (CONTAINERD, []),
        (
            replace(OWN, is_installed=False),
            ["error: dockerd is wanted as the container engine, and is not installed"],
        ),
        (replace(CONTAINERD, has_runc=False), ["warning: neither runc nor crun is installed"]),
    ],
)
def test_engines(choice: Choice, found: list[str]) -> None:
    assert bad(judge(choice, SERVER)) == found


def test_a_control_plane_needs_none() -> None:
    assert bad(judge(NONE, CONTROL_PLANE)) == []


@pytest.mark.parametrize("does_answer", [True, False])
def test_the_engine_that_a_start_would_take_is_asked(tmp_path: Path, does_answer: bool) -> None:
    path = tmp_path / "docker.sock"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(8)

    def answer() -> None:
        while True:
            try:
                conversation, _ = listening.accept()
            except OSError:
                return
            with conversation:
                asked = conversation.recv(4096)
                body = (
                    b'{"Version":"27.1.1","ApiVersion":"1.46"}' if b"/version" in asked else b"OK"
                )
                conversation.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + body)

    if does_answer:
        threading.Thread(target=answer, daemon=True).start()
    else:
        listening.close()
    wanted = replace(in_folder(tmp_path), engine=WantedEngine(path, "docker"))
    choice = gather(wanted)
    listening.close()
    path.unlink()
    assert (choice.socket, choice.answers) == (str(path), does_answer)
    assert choice.version == ("27.1.1" if does_answer else "")
