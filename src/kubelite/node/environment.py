"""Computes a container's environment, command and arguments, with ``$(NAME)`` references expanded."""

import base64
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from decimal import ROUND_CEILING

from msgspec import Struct

from kubelite.api.client.protocol import Client
from kubelite.api.errors import NotFound
from kubelite.api.kinds.core.config import ConfigMap, Secret
from kubelite.api.kinds.core.containers import EnvFromSource, EnvVar, EnvVarSource
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.references import ResourceFieldSelector
from kubelite.api.kinds.core.services import Service
from kubelite.api.machinery.quantity import Quantity, parse_quantity
from kubelite.limits import EXEC_STRING, EXEC_TEXT
from kubelite.node.pod_config import PodConfig
from kubelite.node.pods import AnyContainer, find_container

_UNPRINTED = re.compile(r"[^ !#-\[\]-~]")
_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]")
MASTER_SERVICE = ("default", "kubernetes")


class ConfigUnavailable(Exception):
    """Something that a container's configuration refers to is missing; `str()` is Kubernetes' message."""


class Surroundings(Struct, frozen=True):
    """The facts of pod and node that a container's environment and volumes may show."""

    pod_ips: tuple[str, ...] = ()
    host_ips: tuple[str, ...] = ()
    allocatable: Mapping[str, str] = {}
    volume_images: Mapping[str, str] = {}  # id of the image by name of the volume


def expand(text: str, known: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by the value of a known name; ``$$`` is a literal dollar.

    Linear in the sizes of text and result. Raises ConfigUnavailable if the result exceeds what a process can be given.
    """
    parts: list[str] = []
    size = 0
    start = 0
    closing = text.find(")")
    while (dollar := text.find("$", start)) >= 0:
        # Searched once and not from each dollar, else a megabyte of "$(" without an end takes quadratic time.
        if 0 <= closing < dollar:
            closing = text.find(")", dollar)
        end, value = _reference(text, dollar, closing, known)
        size += dollar - start + len(value)
        if size > EXEC_STRING.value:
            EXEC_STRING.reached()
            raise ConfigUnavailable("cannot expand references: argument list too long")
        parts += (text[start:dollar], value)
        start = end
    return "".join([*parts, text[start:]])


def _reference(text: str, dollar: int, closing: int, known: Mapping[str, str]) -> tuple[int, str]:
    """Return the end of the reference that starts at a dollar, and its replacement."""
    following = text[dollar + 1 : dollar + 2]
    if following == "$":
        return dollar + 2, "$"
    if following == "(" and closing > dollar:
        whole = text[dollar : closing + 1]
        return closing + 1, known.get(whole[2:-1], whole)
    return dollar + 1, "$"


def service_environment(
    services: Sequence[Service], namespace: str, *, links: bool
) -> dict[str, str]:
    """Name the services of a namespace, and the API's, as environment variables do."""
    chosen: dict[str, Service] = {}
    for service in services:
        place = (service.metadata.namespace, service.metadata.name)
        if not service.spec.clusterIP or service.spec.clusterIP == "None" or not service.spec.ports:
            continue
        if place == MASTER_SERVICE:
            chosen.setdefault(service.metadata.name, service)
        elif links and service.metadata.namespace == namespace:
            chosen[service.metadata.name] = service
    found: dict[str, str] = {}
    for service in chosen.values():
        found.update(_of_service(service))
    return found


def _of_service(service: Service) -> Iterator[tuple[str, str]]:
    prefix = service.metadata.name.upper().replace("-", "_")
    address = service.spec.clusterIP
    host = f"[{address}]" if ":" in address else address
    ports = service.spec.ports
    yield f"{prefix}_SERVICE_HOST", address
    yield f"{prefix}_SERVICE_PORT", str(ports[0].port)
    for port in ports:
        if port.name:
            suffix = port.name.upper().replace("-", "_")
            yield f"{prefix}_SERVICE_PORT_{suffix}", str(port.port)
    first = ports[0]
    yield f"{prefix}_PORT", f"{(first.protocol or 'TCP').lower()}://{host}:{first.port}"
    for port in ports:
        protocol = port.protocol or "TCP"
        name = f"{prefix}_PORT_{port.port}_{protocol}"
        yield name, f"{protocol.lower()}://{host}:{port.port}"
        yield f"{name}_PROTO", protocol.lower()
        yield f"{name}_PORT", str(port.port)
        yield f"{name}_ADDR", address


def field_value(pod: Pod, path: str, around: Surroundings) -> str:
    """Return a field that the downward API offers; raises ConfigUnavailable for any other."""
    meta = pod.metadata
    if matched := _SUBSCRIPT.fullmatch(path):
        return getattr(meta, matched.group(1)).get(matched.group(2), "")  # type: ignore[no-any-return]  # a dict[str, str] by the pattern
    if path in {"metadata.labels", "metadata.annotations"}:
        return _as_lines(getattr(meta, path.partition(".")[2]))
    values = {
        "metadata.name": meta.name,
        "metadata.namespace": meta.namespace,
        "metadata.uid": meta.uid,
        "spec.nodeName": pod.spec.nodeName,
        "spec.serviceAccountName": pod.spec.serviceAccountName,
        "status.hostIP": ",".join(around.host_ips[:1]),
        "status.hostIPs": ",".join(around.host_ips),
        "status.podIP": ",".join(around.pod_ips[:1]),
        "status.podIPs": ",".join(around.pod_ips),
    }
    if path not in values:
        raise ConfigUnavailable(f"unsupported fieldPath: {path}")
    return values[path]


def _as_lines(values: Mapping[str, str]) -> str:
    return "\n".join(f"{key}={quoted(values[key])}" for key in sorted(values))


def quoted(text: str) -> str:
    """Quote a text as Go does (strconv.Quote), so that it stays on one line whatever it holds."""
    return f'"{_UNPRINTED.sub(_escaped, text)}"'


def _escaped(matched: re.Match[str]) -> str:
    character = matched.group()
    code = ord(character)
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def resource_value(
    pod: Pod, container: AnyContainer, selector: ResourceFieldSelector, around: Surroundings
) -> str:
    """Return a limit or request in units of the selector's divisor; a missing limit is the node's."""
    target = container
    if selector.containerName:
        found = find_container(pod, selector.containerName)
        if found is None:
            raise ConfigUnavailable(f"container {selector.containerName} not found")
        target = found
    kind, _, name = selector.resource.partition(".")
    resources = target.resources
    limits = resources.limits
    requests = resources.requests
    if kind == "limits":
        written = limits.get(name) or around.allocatable.get(name, "0")
    else:
        written = requests.get(name) or limits.get(name) or "0"
    divisor = parse_quantity(selector.divisor) if selector.divisor else Quantity(1)
    if not divisor:
        divisor = Quantity(1)
    amount = parse_quantity(written)
    whole = (amount.amount / divisor.amount).to_integral_value(ROUND_CEILING)
    return str(int(whole))


class Environment:
    """Resolves what a container's environment refers to."""

    def __init__(self, client: Client, reads: PodConfig | None = None) -> None:
        """`reads` may be shared with other readers of what pods refer to."""
        self._reads = reads or PodConfig(client)

    async def of(
        self,
        pod: Pod,
        container: AnyContainer,
        services: Sequence[Service],
        around: Surroundings,
    ) -> dict[str, str]:
        """Return a container's variables in order; raises ConfigUnavailable."""
        links = pod.spec.enableServiceLinks is not False
        config = _Config(self._reads, pod)
        known = service_environment(services, pod.metadata.namespace, links=links)
        for source in container.envFrom:
            known.update(await config.of_source(source))
        size = sum(len(value) for value in known.values())
        for variable in container.env:
            value = await _value(pod, container, variable, known, around, config)
            if value is not None:
                size += len(value) - len(known.get(variable.name, ""))
                known[variable.name] = value
            if size > EXEC_TEXT.value:
                EXEC_TEXT.reached()
                raise ConfigUnavailable("cannot expand references: argument list too long")
        return known


async def _value(
    pod: Pod,
    container: AnyContainer,
    variable: EnvVar,
    known: Mapping[str, str],
    around: Surroundings,
    config: "_Config",
) -> str | None:
    source = variable.valueFrom
    if source is None:
        return expand(variable.value, known)
    if source.fieldRef is not None:
        return field_value(pod, source.fieldRef.fieldPath, around)
    if source.resourceFieldRef is not None:
        return resource_value(pod, container, source.resourceFieldRef, around)
    return await config.of_key(source)


class _Config:
    """The ConfigMaps and Secrets a container refers to, each read once however many variables name it."""

    def __init__(self, reads: PodConfig, pod: Pod) -> None:
        self._reads = reads
        self._pod = pod
        self._namespace = pod.metadata.namespace
        self._read: dict[tuple[str, str], dict[str, str] | None] = {}

    async def of_source(self, source: EnvFromSource) -> dict[str, str]:
        """Return the variables of a whole ConfigMap or Secret; raises ConfigUnavailable."""
        data: dict[str, str] = {}
        if (config := source.configMapRef) is not None:
            data = await self._config_map(config.name, optional=bool(config.optional))
        elif (secret := source.secretRef) is not None:
            data = await self._secret(secret.name, optional=bool(secret.optional))
        return {source.prefix + key: data[key] for key in sorted(data) if "=" not in key}

    async def of_key(self, source: EnvVarSource) -> str | None:
        """Return one key of a ConfigMap or Secret, None if it may be missing; raises ConfigUnavailable."""
        if (ref := source.configMapKeyRef) is not None:
            data = await self._config_map(ref.name, optional=bool(ref.optional))
            where = f"ConfigMap {self._namespace}/{ref.name}"
            return _key(data, ref.key, where, optional=bool(ref.optional))
        if (secret := source.secretKeyRef) is not None:
            data = await self._secret(secret.name, optional=bool(secret.optional))
            where = f"Secret {self._namespace}/{secret.name}"
            return _key(data, secret.key, where, optional=bool(secret.optional))
        return None

    async def _config_map(self, name: str, *, optional: bool) -> dict[str, str]:
        return await self._once("configmap", name, self._read_config_map, optional=optional)

    async def _secret(self, name: str, *, optional: bool) -> dict[str, str]:
        return await self._once("secret", name, self._read_secret, optional=optional)

    async def _once(
        self,
        kind: str,
        name: str,
        read: Callable[[str], Awaitable[dict[str, str]]],
        *,
        optional: bool,
    ) -> dict[str, str]:
        key = (kind, name)
        if key not in self._read:
            try:
                self._read[key] = await read(name)
            except NotFound:
                self._read[key] = None
        data = self._read[key]
        if data is None and not optional:
            raise ConfigUnavailable(f'{kind} "{name}" not found')
        return data or {}

    async def _read_config_map(self, name: str) -> dict[str, str]:
        return (await self._reads.get(self._pod, ConfigMap, name)).data

    async def _read_secret(self, name: str) -> dict[str, str]:
        secret = await self._reads.get(self._pod, Secret, name)
        return {
            key: base64.b64decode(value).decode("utf-8", "replace")
            for key, value in secret.data.items()
        }


def _key(data: Mapping[str, str], key: str, where: str, *, optional: bool) -> str | None:
    if key in data:
        return data[key]
    if optional:
        return None
    raise ConfigUnavailable(f"couldn't find key {key} in {where}")
