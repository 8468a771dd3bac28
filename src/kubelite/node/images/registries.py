"""Which registries serve which images, and how they are reached: ``registries.yaml``, as in k3s. Pure but for reading.

    mirrors:
      docker.io:                          # a registry as images name it, or "*" for those without an entry
        endpoint: ["https://mirror:5000"] # tried in this order, and the registry itself last
        rewrite: {"^library/(.*)": "hub/$1"}
    configs:
      "mirror:5000":
        auth: {username: u, password: p}  # or auth (base64), or identity_token
        tls: {ca_file: F, cert_file: F, key_file: F, insecure_skip_verify: true}

Images keep their own names, whichever endpoint serves them.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from kubelite.limits import REGISTRIES_FILE
from kubelite.node.images.logins import Login, decode_auth
from kubelite.node.images.names import DOCKER_HUB, ImageName, find_name

ANY = "*"
HUB_HOST = "registry-1.docker.io"
API_PATH = "/v2"
_HOST = re.compile(r"(?:[a-zA-Z0-9][a-zA-Z0-9.-]*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?", re.ASCII)
_GROUP = re.compile(r"\$(?:(\d+|\w+)|\{(\w+)\})")


class RegistriesInvalid(Exception):
    """The file cannot be used; the message says where and why."""


class TLS(Struct, frozen=True):
    """How a registry proves itself, and this node to it. Files are paths on the host; "" if there is none."""

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    insecure_skip_verify: bool = False


class RegistryConfig(Struct, frozen=True):
    """How one registry or endpoint is reached."""

    login: Login | None = None
    tls: TLS = TLS()


class Endpoint(Struct, frozen=True):
    """The address of a registry or mirror."""

    scheme: str
    host: str  # with its port, if one is given
    path: str = API_PATH

    @property
    def url(self) -> str:
        """The URL below which the registry's API is."""
        return f"{self.scheme}://{self.host}{self.path}"

    @property
    def registry(self) -> str:
        """The name by which images and configurations call this host."""
        return DOCKER_HUB if self.host == HUB_HOST else self.host

    @property
    def is_nameable(self) -> bool:
        """Whether the name of an image can lead here: that of a repository says what follows /v2/ only."""
        return self.path == API_PATH or self.path.startswith(f"{API_PATH}/")


class Rewrite(Struct, frozen=True):
    """A replacement of a part of a repository's path."""

    pattern: str
    replacement: str  # as Go's: $1, ${1}, ${name}

    def apply(self, path: str) -> str:
        """Return the path with every match replaced."""
        return re.sub(self.pattern, self._expand, path)

    def _expand(self, matched: re.Match[str]) -> str:
        def group(reference: re.Match[str]) -> str:
            name = reference[1] or reference[2]
            try:
                return matched[int(name) if name.isdecimal() else name] or ""
            except IndexError:  # as Go: an unknown group is empty
                return ""

        return _GROUP.sub(group, self.replacement.replace("$$", "\0")).replace("\0", "$")


class Mirror(Struct, frozen=True):
    """The endpoints that are tried before a registry itself."""

    endpoints: tuple[Endpoint, ...] = ()
    rewrites: tuple[Rewrite, ...] = ()

    def path(self, path: str) -> str:
        """Return where the endpoints keep a repository: by the first rewrite that changes its path."""
        for rewrite in self.rewrites:
            if (changed := rewrite.apply(path)) != path:
                return changed
        return path


class Source(Struct, frozen=True):
    """A place from which an image can be pulled."""

    reference: str  # the image's name there
    login: Login | None = None  # the node's own
    is_mirror: bool = False


class Registries(Struct, frozen=True):
    """All that the file says; empty without a file."""

    mirrors: Mapping[str, Mirror] = {}
    configs: Mapping[str, RegistryConfig] = {}
    has_default: bool = True  # whether the registry itself is tried after its mirrors

    def mirror(self, registry: str) -> Mirror | None:
        """Return the mirror of a registry: its own, else that for any."""
        return self.mirrors.get(registry) or self.mirrors.get(ANY)

    def config(self, registry: str) -> RegistryConfig:
        """Return how a registry or endpoint is reached; Docker Hub goes by both its names."""
        if registry == DOCKER_HUB and HUB_HOST in self.configs:
            return self.configs[HUB_HOST]
        return self.configs.get(registry) or self.configs.get(ANY) or RegistryConfig()

    def sources(self, name: ImageName) -> list[Source]:
        """Return where an image can be pulled from, in the order in which the places are tried; at least one."""
        mirror = self.mirror(name.registry) or Mirror()
        found: list[Source] = []
        for endpoint in mirror.endpoints:
            place = mirrored_repository(endpoint, mirror.path(name.path))
            # A rewrite can make what is no name; the other places are tried nevertheless.
            if endpoint.is_nameable and find_name(place + name.suffix) is not None:
                login = self.config(endpoint.registry).login
                is_mirror = place != name.full_repository
                found.append(Source(place + name.suffix, login, is_mirror=is_mirror))
        if not found or (self.has_default and all(source.is_mirror for source in found)):
            own = name.repository + name.suffix
            found.append(Source(own, self.config(name.registry).login))
        return found


def limitations(registries: Registries) -> list[str]:
    """Return a text for each thing in the file that an engine does not do which only pulls by the names of images."""
    named = [
        f"tls of {host}: give the engine itself the certificates, in /etc/docker/certs.d/{host}"
        for host, config in sorted(registries.configs.items())
        if replace(config.tls, insecure_skip_verify=False) != TLS()
    ]
    insecure = [
        f"{host} without trusted certificate: the engine must have it among its insecure-registries"
        for host in insecure_hosts(registries)
    ]
    unreachable = [
        f"endpoint {endpoint.url} of {registry}: its path must begin with /v2"
        for registry, mirror in sorted(registries.mirrors.items())
        for endpoint in mirror.endpoints
        if not endpoint.is_nameable
    ]
    return [*named, *insecure, *unreachable]


def insecure_hosts(registries: Registries) -> list[str]:
    """Return the hosts that are reached by plain HTTP or without verifying their certificate.

    Engines allow that of loopback addresses anyway.
    """
    unverified = {
        host for host, config in registries.configs.items() if config.tls.insecure_skip_verify
    }
    plain = {
        endpoint.host
        for mirror in registries.mirrors.values()
        for endpoint in mirror.endpoints
        if endpoint.scheme == "http" and not _is_local(endpoint.host)
    }
    return sorted((unverified | plain) - {ANY})


def mirrored_repository(endpoint: Endpoint, path: str) -> str:
    """Return the name under which an engine pulls a repository from an endpoint.

    An endpoint with a longer path keeps the repository below what follows /v2/.
    """
    below = endpoint.path.removeprefix(API_PATH).strip("/")
    return "/".join(part for part in (endpoint.registry, below, path) if part)


def read_registries(path: Path, *, has_default: bool = True) -> Registries:
    """Read the file; without one there is nothing special. Blocking. Raises RegistriesInvalid."""
    import yaml

    try:
        with path.open("rb") as opened:
            text = opened.read(REGISTRIES_FILE.value + 1)
        if len(text) > REGISTRIES_FILE.value:
            REGISTRIES_FILE.reached()
            raise RegistriesInvalid("it is too large")
        return parse_registries(yaml.safe_load(text), has_default=has_default)
    except FileNotFoundError:
        return Registries(has_default=has_default)
    except OSError as error:
        raise RegistriesInvalid(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise RegistriesInvalid(f"cannot read {path}: {' '.join(str(error).split())}") from error
    except RegistriesInvalid as error:
        raise RegistriesInvalid(f"cannot use {path}: {error}") from error


def parse_registries(content: Any, *, has_default: bool = True) -> Registries:
    """Return what the content of the file says. Raises RegistriesInvalid."""
    top = _mapping(content, "the file", {"mirrors", "configs"})
    mirrors = _mapping(top.get("mirrors"), "mirrors")
    configs = _mapping(top.get("configs"), "configs")
    return Registries(
        {name: _mirror(name, given) for name, given in mirrors.items()},
        {name: _config(name, given) for name, given in configs.items()},
        has_default,
    )


def _mapping(content: Any, where: str, keys: set[str] | None = None) -> dict[str, Any]:
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise RegistriesInvalid(f"{where} must hold keys and values")
    for key in content:
        if keys is not None and key not in keys:
            raise RegistriesInvalid(f'{where} has an unknown key "{key}"')
    return content


def _text(content: Mapping[str, Any], key: str, where: str) -> str:
    value = content.get(key)
    if value is not None and not isinstance(value, str):
        raise RegistriesInvalid(f"{where}.{key} must be a text")
    return value or ""


def _mirror(name: str, given: Any) -> Mirror:
    where = f"mirrors.{name}"
    content = _mapping(given, where, {"endpoint", "rewrite"})
    listed = content.get("endpoint") or []
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise RegistriesInvalid(f"{where}.endpoint must be a list of texts")
    endpoints = dict.fromkeys(endpoint_of(one, f"{where}.endpoint") for one in listed)
    rewrites = _mapping(content.get("rewrite"), f"{where}.rewrite")
    return Mirror(tuple(endpoints), tuple(_rewrites(rewrites, f"{where}.rewrite")))


def _rewrites(content: Mapping[str, Any], where: str) -> Iterator[Rewrite]:
    for pattern, replacement in content.items():
        if not isinstance(replacement, str):
            raise RegistriesInvalid(f"{where} must hold texts")
        try:
            re.compile(pattern)
        except re.error as error:
            raise RegistriesInvalid(
                f'{where} has an invalid pattern "{pattern}": {error}'
            ) from error
        yield Rewrite(pattern, replacement)


def endpoint_of(text: str, where: str) -> Endpoint:
    """Read the address of an endpoint, with or without scheme and path. Raises RegistriesInvalid."""
    try:
        url = urlsplit(text if "://" in text else f"//{text}")
        host, port, name = url.netloc, url.port, url.hostname
    except ValueError as error:
        raise RegistriesInvalid(f'{where} has an invalid address "{text}": {error}') from error
    if url.scheme not in {"", "http", "https"} or not name or not _HOST.fullmatch(host):
        raise RegistriesInvalid(f'{where} has an invalid address "{text}"')
    scheme = url.scheme or ("http" if _is_local(host) and port not in {None, 443} else "https")
    path = url.path.rstrip("/")
    host = HUB_HOST if host in {DOCKER_HUB, "index.docker.io"} else host
    return Endpoint(scheme, host, API_PATH if path in {"", API_PATH} else path)


def _is_local(host: str) -> bool:
    name = host.removeprefix("[").rpartition(":")[0] if ":" in host else host
    return name in {"localhost", "::1", "::1]"} or name.startswith("127.")


def _config(name: str, given: Any) -> RegistryConfig:
    where = f"configs.{name}"
    if name != ANY and _HOST.fullmatch(name) is None:
        raise RegistriesInvalid(f"{where} must be a host, with its port if it has one")
    content = _mapping(given, where, {"auth", "tls"})
    tls = _mapping(
        content.get("tls"),
        f"{where}.tls",
        {"ca_file", "cert_file", "key_file", "insecure_skip_verify"},
    )
    skips = tls.get("insecure_skip_verify", False)
    if not isinstance(skips, bool):
        raise RegistriesInvalid(f"{where}.tls.insecure_skip_verify must be true or false")
    files = {key: _text(tls, key, f"{where}.tls") for key in ("ca_file", "cert_file", "key_file")}
    return RegistryConfig(
        _node_login(name, content.get("auth")), TLS(**files, insecure_skip_verify=skips)
    )


def _node_login(name: str, given: Any) -> Login | None:
    where = f"configs.{name}.auth"
    keys = ("username", "password", "auth", "identity_token")
    content = _mapping(given, where, set(keys))
    username, password, auth, token = (_text(content, key, where) for key in keys)
    if auth:
        try:
            username, password = decode_auth(auth)
        except ValueError as error:
            # Not the reason: it could quote the secret.
            raise RegistriesInvalid(f"{where}.auth must be base64 of username:password") from error
    if not (username or password or token):
        return None
    return Login(name, username, password, identity_token=token)
