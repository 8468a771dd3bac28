import socket
import threading

import pytest
from msgspec.structs import replace

from kubelite.doctor import names
from kubelite.doctor.names import Names, judge, parse
from unit.doctor.hosts import CONTROL_PLANE, SERVER, bad


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("nameserver 192.0.2.53\nsearch example.org\n", []),
        (None, ["note: /etc/resolv.conf cannot be read"]),
        ("# nothing\n\nnameserver\n", ["note: /etc/resolv.conf names no server"]),
        ("nameserver 127.0.0.53\n", ["note: the resolver is on this host only: 127.0.0.53"]),
        ("nameserver ::1\n", ["note: the resolver is on this host only: ::1"]),
        ("nameserver fe80::1%eth0\nnameserver nonsense\n", []),
        (
            "nameserver 10.43.0.10\n",
            ["warning: /etc/resolv.conf names the cluster's own DNS: 10.43.0.10"],
        ),
        (
            "".join(f"nameserver 192.0.2.{number}\n" for number in range(4)),
            ["note: /etc/resolv.conf has 4 servers"],
        ),
        (
            "nameserver 192.0.2.1\nsearch " + " ".join(f"d{n}.example" for n in range(40)),
            ["warning: /etc/resolv.conf has 40 search domains"],
        ),
        (
            "nameserver 192.0.2.1\nsearch " + "a" * 2100,
            ["warning: /etc/resolv.conf has 1 search domains"],
        ),
        ("nameserver 192.0.2.1\nsearch a b\nsearch c\n", []),
    ],
)
def test_files(text: str | None, found: list[str]) -> None:
    assert bad(judge(parse(text), SERVER)) == found


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        (None, []),
        ({"192.0.2.1": True}, []),
        ({"192.0.2.1": False}, ["warning: no resolver answers within 2 s: 192.0.2.1"]),
        (
            {"192.0.2.1": False, "192.0.2.2": True},
            ["warning: a resolver does not answer within 2 s: 192.0.2.1"],
        ),
    ],
)
def test_answers(answers: dict[str, bool] | None, found: list[str]) -> None:
    assert bad(judge(Names(servers=("192.0.2.1",), answers=answers), SERVER)) == found


def test_a_control_plane_asks_nobody() -> None:
    assert bad(judge(Names(is_there=False), CONTROL_PLANE)) == []


@pytest.mark.parametrize(
    ("answer", "does"),
    [
        (lambda asked: asked[:2] + b"\x81\x85" + bytes(8), True),  # a refusal is an answer
        (lambda asked: b"\0\0" + b"\x81\x80" + bytes(8), False),
        (lambda asked: asked[:2], False),
    ],
)
def test_a_server_is_asked(answer: object, does: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert callable(answer)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        monkeypatch.setattr(names, "PORT", server.getsockname()[1])
        monkeypatch.setattr(names, "ANSWER_SECONDS", 5.0)

        def serve() -> None:
            asked, who = server.recvfrom(512)
            server.sendto(answer(asked), who)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        assert names._asked(["127.0.0.1"]) == {"127.0.0.1": does}
        thread.join()


def test_nobody_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(names, "PORT", port)
    assert names._asked(["127.0.0.1", "no address"]) == {"127.0.0.1": False, "no address": False}


def test_plugins_do_not_change_it() -> None:
    assert bad(judge(parse(None), replace(SERVER, owns_network=False))) != []
