"""Finds the logins with which an image may be pulled, as the kubelet matches them. Pure.

A login is kept by the place it is for: a host, with a port or none, and perhaps a path. Labels of the host may have
wildcards. The logins of the longest matching places come first, and each is tried in turn.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from kubelite.api.kinds.core.config import Secret
from kubelite.limits import MATCHED_LOGINS
from kubelite.node.images.names import DOCKER_HUB, ImageName
from kubelite.node.runtime import Credentials

HUB_PLACES = frozenset({"index.docker.io", "registry-1.docker.io"})
LABEL_LENGTH_MAX = 255  # of a host; longer patterns match nothing
_WILD = re.compile(r"[*?\[]")
_PARTS = re.compile(r"\[\^?[^\]]+\]|.", re.DOTALL)
_RANGE = re.compile(r"(.)(?:-(.))?", re.DOTALL)


class LoginUnreadable(Exception):
    """A pull secret's content has not the form of a Docker configuration."""


class SecretSource(Struct, frozen=True):
    """The pull secret that a login comes from."""

    uid: str
    namespace: str
    name: str


class AccountSource(Struct, frozen=True):
    """The service account by whose token a login was had."""

    uid: str
    namespace: str
    name: str


Source = SecretSource | AccountSource | None


class Login(Struct, frozen=True):
    """A login and the place it is for."""

    place: str  # host[:port][/path], without scheme
    username: str = ""
    password: str = ""
    email: str = ""
    identity_token: str = ""
    source: Source = None  # None: of the node itself

    @property
    def hash(self) -> str:
        """The hash by which the kubelet's records tell whether two logins are the same."""
        parts = {"username": self.username, "password": self.password, "email": self.email}
        if self.identity_token:
            parts["identitytoken"] = self.identity_token
        given = {name: part for name, part in parts.items() if part}
        return hashlib.sha256(msgspec.json.encode(given)).hexdigest()

    def credentials(self, server: str) -> Credentials:
        """Return what an engine is given to log in at a registry."""
        return Credentials(server, self.username, self.password, self.identity_token)


def logins_of(secret: Secret) -> list[Login]:
    """Return the logins of a pull secret; none if it is of another type. Raises LoginUnreadable."""
    try:
        if secret.type == "kubernetes.io/dockerconfigjson" and ".dockerconfigjson" in secret.data:
            content = msgspec.json.decode(base64.b64decode(secret.data[".dockerconfigjson"]))
            found = {} if (auths := content.get("auths")) is None else auths
        elif secret.type == "kubernetes.io/dockercfg" and ".dockercfg" in secret.data:
            found = msgspec.json.decode(base64.b64decode(secret.data[".dockercfg"]))
        else:
            return []
        meta = secret.metadata
        source = SecretSource(meta.uid, meta.namespace, meta.name)
        return [_login(where, login, source) for where, login in found.items()]
    # ValueError: also of base64 and JSON; RecursionError: lists within lists
    except (ValueError, AttributeError, TypeError, RecursionError):
        # Their messages can repeat a part of the secret.
        raise LoginUnreadable("the secret holds no Docker configuration") from None


def _login(where: str, login: Mapping[str, Any], source: SecretSource) -> Login:
    texts = {field: login.get(field) or "" for field in ("username", "password", "email")}
    token, auth = login.get("identitytoken") or "", login.get("auth") or ""
    if not all(isinstance(text, str) for text in (*texts.values(), token, auth)):
        raise TypeError("a login has texts only")
    if auth:
        texts["username"], texts["password"] = decode_auth(auth)
    return Login(place_of(where), **texts, identity_token=token, source=source)


def decode_auth(auth: str) -> tuple[str, str]:
    """Return user name and password of a field ``auth``, with or without padding. Raises ValueError."""
    stripped = auth.strip()
    try:
        text = base64.b64decode(stripped + "=" * (-len(stripped) % 4), validate=True).decode()
    except binascii.Error as error:
        raise ValueError(f"the field auth is not base64: {error}") from error
    username, colon, password = text.partition(":")
    if not colon:
        raise ValueError("the field auth must be base64 of username:password")
    return username, password


def place_of(where: str) -> str:
    """Return the place that a key of a Docker configuration stands for; /v1/ and /v2/ stand for the whole host."""
    bare = where
    for scheme in ("https://", "http://"):
        bare = bare.removeprefix(scheme)
    host, slash, path = bare.partition("/")
    path = slash + path
    if path.startswith(("/v1/", "/v2/")):
        path = path[3:]
    host = "index.docker.io" if host in HUB_PLACES else host
    return host if path in {"", "/"} else host + path


def matches(place: str, repository: str) -> bool:
    """Return whether a login for a place is one for a repository, which is written with its registry."""
    host, slash, path = place.partition("/")
    other_host, other_slash, other_path = repository.partition("/")
    if not (other_slash + other_path).startswith(slash + path):
        return False
    (labels, port), (other_labels, other_port) = _split(host), _split(other_host)
    if port != other_port or len(labels) != len(other_labels):
        return False
    return all(map(_label_matches, labels, other_labels))


def _split(host: str) -> tuple[list[str], str]:
    name, colon, port = host.rpartition(":")
    if not colon or "]" in port:
        name, port = host, ""
    return name.removeprefix("[").removesuffix("]").split("."), port


def _label_matches(pattern: str, label: str) -> bool:
    """Match a label with Go's path patterns. Nothing is compiled or kept: Secrets can hold thousands of patterns."""
    if not _WILD.search(pattern):
        return pattern == label
    return len(pattern) <= LABEL_LENGTH_MAX and _glob(_PARTS.findall(pattern), label)


def _glob(parts: Sequence[str], text: str) -> bool:
    at = place = 0
    star, resume = -1, 0  # the last * and where what follows it was tried
    while place < len(text):
        if at < len(parts) and parts[at] == "*":
            star, resume = at, place
            at += 1
        elif at < len(parts) and _part_matches(parts[at], text[place]):
            at, place = at + 1, place + 1
        elif star >= 0:
            resume += 1
            at, place = star + 1, resume
        else:
            return False
    return all(part == "*" for part in parts[at:])


def _part_matches(part: str, letter: str) -> bool:
    if len(part) == 1:
        return part in ("?", letter)
    inner = part[1:-1]
    is_negated = inner.startswith("^")
    ranges = _RANGE.findall(inner.removeprefix("^"))
    return any(first <= letter <= (last or first) for first, last in ranges) != is_negated


def find_logins(name: ImageName, secrets: Iterable[Sequence[Login]]) -> list[Login]:
    """Return the logins for an image, of the longest places first and equal ones in the order of the secrets."""
    by_place: dict[str, list[Login]] = {}
    given = [login for logins in secrets for login in logins]
    if len(given) > MATCHED_LOGINS.value:
        MATCHED_LOGINS.reached()
    for login in given[: MATCHED_LOGINS.value]:
        by_place.setdefault(login.place, []).append(login)
    repository = name.full_repository
    matching = [place for place in sorted(by_place, reverse=True) if matches(place, repository)]
    if not matching and name.registry == DOCKER_HUB:
        matching = [place for place in ("index.docker.io",) if place in by_place]
    unique = dict.fromkeys(login for place in matching for login in by_place[place])
    return list(unique)
