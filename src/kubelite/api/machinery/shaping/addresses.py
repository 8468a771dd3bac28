"""Mail, hardware and web addresses, as Go's net/mail, net and net/url read them."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")
_ESCAPES = re.compile(r"%(?![0-9a-fA-F]{2})")
_HOST_LETTER = r"""[A-Za-z0-9\-_.~!$&'()*+,;=:\[\]<>"\x80-\U0010ffff]"""
_HOST = re.compile(f"(?:{_HOST_LETTER}|%25|%[89a-fA-F][0-9a-fA-F])*+")
_ZONE = re.compile(f"(?:{_HOST_LETTER}|%[0-9a-fA-F]{{2}})++")
_PORT = re.compile(r":[0-9]*")
_USER = re.compile(r"(?:[A-Za-z0-9\-._:~!$&'()*+,;=@]|%[0-9a-fA-F]{2})*+")


def is_request_uri(text: str) -> bool:
    """Return whether a text is an absolute URI or an absolute path."""
    if not text or _CONTROL.search(text) or text[0] == ":":
        return False
    if text == "*":
        return True
    scheme = _SCHEME.match(text)
    rest = text[scheme.end() :] if scheme else text
    rest = rest.partition("?")[0]
    if not rest.startswith("/"):
        return scheme is not None
    if scheme is not None and rest.startswith("//"):
        authority, slash, path = rest[2:].partition("/")
        rest = slash + path
        if not _is_authority(authority, scheme[1].lower()):
            return False
    return _ESCAPES.search(rest) is None


def _is_authority(text: str, scheme: str) -> bool:
    user, _, host = text.rpartition("@")
    return _USER.fullmatch(user) is not None and _is_host(host, scheme)


def _is_host(text: str, scheme: str) -> bool:
    bracket = text.rfind("[")
    if bracket > 0:
        return False
    if bracket == 0:
        literal, closed, port = text[1:].rpartition("]")
        address, zoned, zone = literal.partition("%25")
        if not closed or not _is_port(port) or (zoned and not _ZONE.fullmatch(zone)):
            return False
        return is_ipv6(address)
    colon = text.find(":") if scheme in ("http", "https") else text.rfind(":")
    return (colon < 0 or _is_port(text[colon:])) and _HOST.fullmatch(text) is not None


def _is_port(text: str) -> bool:
    return not text or _PORT.fullmatch(text) is not None


def is_ipv6(text: str) -> bool:
    """Return whether a text is an IPv6 address without a zone."""
    if "%" in text or len(text) > 64:
        return False
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _is_ipv4(text: str) -> bool:
    try:
        IPv4Address(text[:20])
    except ValueError:
        return False
    return True


_MAC_SIZES = (6, 8, 20)
_MAC = re.compile(
    "|".join(
        f"[0-9a-fA-F]{{2}}(?:{mark}[0-9a-fA-F]{{2}}){{{size - 1}}}"
        for mark in (":", "-")
        for size in _MAC_SIZES
    )
    + "".join(rf"|[0-9a-fA-F]{{4}}(?:\.[0-9a-fA-F]{{4}}){{{size // 2 - 1}}}" for size in _MAC_SIZES)
)


def is_mac(text: str) -> bool:
    """Return whether a text is a hardware address of 6, 8 or 20 bytes."""
    return _MAC.fullmatch(text) is not None


_ATOM = re.compile(r"""[^\x00-\x20\x7f()<>\[\]:;@\\,"]+""")
_QUOTED = re.compile(r'"(?:[\t !#-\[\]-~\x80-\U0010ffff]|\\[\t -~\x80-\U0010ffff])*+"')
_WORDS = re.compile(rf"(?:[ \t]*+(?:{_ATOM.pattern}|{_QUOTED.pattern}))*+")
_LITERAL = re.compile(r"\[([^\x00-\x20\x7f\[\]\\]*)\]")
_ENCODED = re.compile(r"=\?([^?]+)\?[bBqQ]\?[^?]*\?=")
_CHARSETS = frozenset({"utf-8", "iso-8859-1", "us-ascii"})
_SPACE = re.compile(r"[ \t]*")
_COMMENT_STEP = re.compile(r"[^()\\]+|\\.|[()]", re.DOTALL)


class _Unreadable(Exception):
    """The text is no mail address."""


class _Mail:
    """A cursor in a text; each method goes past what it reads, or raises _Unreadable."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise _Unreadable
        self.at = match.end()
        return match[0]

    def takes(self, mark: str) -> bool:
        found = self.text.startswith(mark, self.at)
        self.at += found
        return found

    def space(self) -> None:
        self.take(_SPACE)

    def comments(self) -> None:
        """Go past space and comments, which may nest."""
        self.space()
        while self.takes("("):
            depth = 1
            while depth:
                step = self.take(_COMMENT_STEP)
                depth += (step == "(") - (step == ")")
            self.space()

    def address(self) -> None:
        """Read name@domain."""
        self.space()
        if self.text.startswith('"', self.at):
            if self.take(_QUOTED) == '""':
                raise _Unreadable
        else:
            self.dotted()
        if not self.takes("@"):
            raise _Unreadable
        self.space()
        if self.text.startswith("[", self.at):
            literal = self.take(_LITERAL)[1:-1]
            address = literal.removeprefix("IPv6:")
            if not (is_ipv6(address) if address != literal else _is_ipv4(address)):
                raise _Unreadable
        else:
            self.dotted()

    def dotted(self) -> None:
        if "" in self.take(_ATOM).split("."):
            raise _Unreadable

    def phrase(self) -> None:
        """Read the words before <name@domain>."""
        self.space()
        self.word()
        start = -1
        while start != self.at:
            start = self.at
            self.take(_WORDS)
            self.comments()

    def word(self) -> None:
        if self.text.startswith('"', self.at):
            self.take(_QUOTED)
            return
        encoded = _ENCODED.fullmatch(self.take(_ATOM))
        if encoded is not None and encoded[1].lower() not in _CHARSETS:
            raise _Unreadable

    def mailbox(self, *, grouped: bool) -> None:
        """Read name@domain, words <name@domain>, or words: mailbox;."""
        self.space()
        start = self.at
        try:
            self.address()
        except _Unreadable:
            self.at = start
        else:
            return
        if not self.text.startswith("<", self.at):
            self.phrase()
        self.space()
        if grouped and self.takes(":"):
            self.mailbox(grouped=False)
            self.comments()
            if not self.takes(";"):
                raise _Unreadable
            return
        if not self.takes("<"):
            raise _Unreadable
        self.address()
        if not self.takes(">"):
            raise _Unreadable


def is_email(text: str) -> bool:
    """Return whether a text is one mail address, with or without a name."""
    mail = _Mail(text)
    try:
        mail.mailbox(grouped=True)
        mail.comments()
    except _Unreadable:
        return False
    return mail.at == len(text)
