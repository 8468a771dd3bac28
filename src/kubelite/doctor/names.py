"""The host's resolvers of names: where the cluster's DNS sends what is not of the cluster."""

import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from threading import Thread

from msgspec import Struct

from kubelite.doctor.findings import Finding, note, ok, warning
from kubelite.doctor.reading import text_of
from kubelite.doctor.wanted import Wanted

RESOLV_CONF = "/etc/resolv.conf"
PORT, ANSWER_SECONDS = 53, 2.0
SERVERS_MAX, DOMAINS_MAX, DOMAINS_CHARACTERS_MAX = 3, 32, 2048  # what resolvers and Kubernetes take
RECURSION_DESIRED, IS_ANSWER, TYPE_NS, CLASS_IN = 0x0100, 0x8000, 2, 1


class Names(Struct, frozen=True):
    """What a resolv.conf says, and which of its servers answer; None: they were not asked."""

    is_there: bool = True
    servers: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    answers: Mapping[str, bool] | None = None


def parse(text: str | None) -> Names:
    """Return what a resolv.conf says; None stands for a file that cannot be read."""
    if text is None:
        return Names(is_there=False)
    servers: list[str] = []
    domains: tuple[str, ...] = ()
    for line in text.splitlines():
        word, *values = line.split() or [""]
        if word == "nameserver":
            servers += values[:1]
        elif word in ("search", "domain"):
            domains = tuple(values)  # the last line counts, as in resolv.conf(5)
    return Names(True, tuple(servers), domains)


def judge(names: Names, wanted: Wanted) -> Iterator[Finding]:
    """Yield what there is to say about the host's resolvers."""
    if not wanted.has_node:
        return
    if not names.servers:
        yield note(
            f"{RESOLV_CONF} names no server" if names.is_there else f"{RESOLV_CONF} cannot be read",
            "pods find names of the cluster only",
            "nothing, if the machine is to be without a network; else name a server in it",
        )
    if own := sorted(set(names.servers) & set(wanted.dns_addresses)):
        yield warning(
            f"{RESOLV_CONF} names the cluster's own DNS: {', '.join(own)}",
            "it cannot ask itself for the names that it does not know, and leaves that server out",
            "name the resolver of the network instead",
        )
    if local := [one for one in names.servers if _is_loopback(one)]:
        yield note(
            f"the resolver is on this host only: {', '.join(local)}",
            "pods with dnsPolicy: Default cannot reach it; those of the default policy can, through the cluster's DNS",
            "nothing, or dnsPolicy: ClusterFirst in such pods",
        )
    if len(names.servers) > SERVERS_MAX:
        yield note(
            f"{RESOLV_CONF} has {len(names.servers)} servers", f"the first {SERVERS_MAX} are used"
        )
    if len(names.domains) > DOMAINS_MAX or len(" ".join(names.domains)) > DOMAINS_CHARACTERS_MAX:
        yield warning(
            f"{RESOLV_CONF} has {len(names.domains)} search domains",
            f"pods get no more than {DOMAINS_MAX}, of {DOMAINS_CHARACTERS_MAX} characters in all",
            "shorten the list",
        )
    yield from _judge_answers(names)


def _judge_answers(names: Names) -> Iterator[Finding]:
    answers = names.answers
    if not answers:
        return
    silent = [server for server, does in answers.items() if not does]
    if len(silent) == len(answers):
        yield warning(
            f"no resolver answers within {ANSWER_SECONDS:g} s: {', '.join(silent)}",
            "pods find names of the cluster only, and images are not pulled by name",
            "see that the network is up and port 53 is let through",
        )
    elif silent:
        yield warning(
            f"a resolver does not answer within {ANSWER_SECONDS:g} s: {', '.join(silent)}",
            "questions wait for it before the next one is asked",
            f"take it out of {RESOLV_CONF}",
        )
    else:
        yield ok(f"resolvers answer: {', '.join(answers)}")


def _is_loopback(server: str) -> bool:
    try:
        return ip_address(server.partition("%")[0]).is_loopback
    except ValueError:
        return False


def gather_quickly(_: Wanted) -> Names:
    """Read the host's resolv.conf; nobody is asked."""
    return parse(text_of(RESOLV_CONF))


def gather(wanted: Wanted) -> Names:
    """Read the host's resolv.conf, and ask each server for the root of all names."""
    found = gather_quickly(wanted)
    servers = found.servers[:SERVERS_MAX]
    return Names(found.is_there, found.servers, found.domains, _asked(servers))


def _asked(servers: Sequence[str]) -> Mapping[str, bool]:
    answers = dict.fromkeys(servers, False)

    def ask(server: str) -> None:
        answers[server] = _answers(server)

    threads = [Thread(target=ask, args=(server,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def _answers(server: str) -> bool:
    """Return whether a server answers at all, if only with a refusal."""
    number = int.from_bytes(os.urandom(2), "big")
    question = (
        struct.pack("!6H", number, RECURSION_DESIRED, 1, 0, 0, 0)
        + b"\0"
        + struct.pack("!2H", TYPE_NS, CLASS_IN)
    )
    try:
        where = socket.getaddrinfo(
            server, PORT, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
        )
        family, kind, _, _, address = where[0]
        with socket.socket(family, kind) as asking:
            asking.settimeout(ANSWER_SECONDS)
            asking.connect(address)
            asking.send(question)
            answer = asking.recv(4096)
    except OSError:
        return False
    return (
        len(answer) >= 4
        and struct.unpack("!2H", answer[:4])[0] == number
        and bool(answer[2] & IS_ANSWER >> 8)
    )
