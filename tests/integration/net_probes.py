"""One process per network namespace that answers on its ports and probes others' when told, hundreds at a time."""

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO

from msgspec import Struct

LOST, REFUSED = "lost", "refused"
WAIT_SECONDS = (
    0.4  # without an answer after this a probe is lost; a machine that answers takes a few ms
)

PROGRAM = """
import json, select, socket, sys, time
name, ports, wait = sys.argv[1].encode(), json.loads(sys.argv[2]), float(sys.argv[3])
listening, answering = {}, {}
for port in ports:
    tcp = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512)
    # Each of one family, and told the address that was asked: else an answer may leave by another one.
    for family, anywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        udp = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            udp.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
        udp.bind((anywhere, port))
        answering[udp.fileno()] = udp
        udp.setblocking(False)
    tcp.setblocking(False)
    listening[tcp.fileno()] = tcp
poll = select.epoll()
for each in (*listening, *answering):
    poll.register(each, select.EPOLLIN)
poll.register(0, select.EPOLLIN)
asked, results, until = {}, [], 0.0
def answer(peer):
    return name + b" " + peer[0].removeprefix("::ffff:").encode()
def done(number, text):
    s, at = asked.pop(number)
    results[at] = text
    poll.unregister(number)
    s.close()
def begin(probes):
    global results, until
    results, until = ["lost"] * len(probes), time.monotonic() + wait
    for at, (kind, address, port) in enumerate(probes):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        s = socket.socket(family, socket.SOCK_DGRAM if kind == "UDP" else socket.SOCK_STREAM)
        s.setblocking(False)
        try:
            s.connect((address, port))
            if kind == "UDP":
                s.send(b"?")
        except (BlockingIOError, PermissionError):
            pass  # what an output chain rejects may not be sent, and is refused a little later
        except ConnectionRefusedError:
            results[at] = "refused"
            s.close()
            continue
        except OSError as error:
            results[at] = error.strerror
            s.close()
            continue
        asked[s.fileno()] = s, at
        poll.register(s.fileno(), select.EPOLLIN)
print("ready", flush=True)
while True:
    left = until - time.monotonic()
    for number, _ in poll.poll(max(0.0, left) if results else None):
        if number == 0:
            line = sys.stdin.readline()
            if not line:
                sys.exit()
            begin(json.loads(line))
        elif number in listening:
            conversation, peer = listening[number].accept()
            conversation.setblocking(True)
            conversation.sendall(answer(peer))
            conversation.close()
        elif number in answering:
            try:
                _, [(level, kind, at)], _, peer = answering[number].recvmsg(100, 100)
                # the address stays, the link is left to the routes
                at = bytes(4) + at[4:] if level == socket.IPPROTO_IP else at[:16] + bytes(4)
                answering[number].sendmsg([answer(peer)], [(level, kind, at)], 0, peer)
            except OSError:
                pass  # an error of an earlier answer
        elif number in asked:
            try:
                done(number, asked[number][0].recv(100).decode() or "closed")
            except ConnectionError:
                done(number, "refused")
            except OSError as error:
                done(number, error.strerror)
    if results and (not asked or time.monotonic() > until):
        for number in list(asked):
            done(number, "lost")
        print(json.dumps(results), flush=True)
        results = []
"""


class Probe(Struct, frozen=True):
    """A question to an address: TCP or UDP."""

    protocol: str
    address: str
    port: int


class Prober:
    """The process of one namespace; usable from any thread, by one at a time."""

    def __init__(self, name: str, pid: int, ports: Sequence[int]) -> None:
        """Answer `ports` by both protocols with `name` and the client's address; `pid` is of the namespace."""
        self._process = subprocess.Popen(
            [
                *("nsenter", "-t", str(pid), "-n", sys.executable, "-SEc", PROGRAM),
                *(name, json.dumps(list(ports)), str(WAIT_SECONDS)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._output.readline() == "ready\n"

    @property
    def _output(self) -> IO[str]:
        assert self._process.stdout is not None
        return self._process.stdout

    def ask(self, probes: Sequence[Probe]) -> list[str]:
        """Send all probes at once; per probe what was answered, `REFUSED`, `LOST` or the text of the error."""
        assert self._process.stdin is not None
        if not probes:
            return []
        lines = [(probe.protocol, probe.address, probe.port) for probe in probes]
        self._process.stdin.write(json.dumps(lines) + "\n")
        self._process.stdin.flush()
        found: list[str] = json.loads(self._output.readline())
        return found

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        self._output.close()


def ask_all(questions: Sequence[tuple[Prober, Sequence[Probe]]]) -> list[list[str]]:
    """Let several namespaces ask at the same time."""
    found: list[list[str]] = [[] for _ in questions]

    def one(at: int) -> None:
        prober, probes = questions[at]
        found[at] = prober.ask(probes)

    threads = [threading.Thread(target=one, args=(at,)) for at in range(len(questions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
