"""Computes a container's environment, command and arguments, with ``$(NAME)`` references expanded."""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
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
from kubelite.node.pods import AnyContainer, find_container

_REFERENCE = re.compile(r"\$(\$|\(([^)]*)\))")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]")
MASTER_SERVICE = ("default", "kubernetes")


class ConfigUnavailable(Exception):
    """Something that a container's configuration refers to is missing; `str()` is Kubernetes' message."""


class Surroundings(Struct, frozen=True):
    """What a container may learn about where it runs."""

    pod_ips: tuple[str, ...] = ()
    host_ips: tuple[str, ...] = ()
    allocatable: Mapping[str, str] = {}


def expand(text: str, known: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by the value of a known name; ``$$`` is a literal dollar."""

    def replacement(matched: re.Match[str]) -> str:
        if matched.group(1) == "$":
            return "$"
        return known.get(matched.group(2), matched.group(0))

    return _REFERENCE.sub(replacement, text)


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
    values = {
        "metadata.name": meta.name,
        "metadata.namespace": meta.namespace,
        "metadata.uid": meta.uid,
        "metadata.labels": _as_lines(meta.labels),
        "metadata.annotations": _as_lines(meta.annotations),
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
    return "\n".join(f"{key}={_quoted(values[key])}" for key in sorted(values))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    escaped = escaped.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    return f'"{escaped}"'


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

    def __init__(self, client: Client) -> None:
        self._client = client

    async def of(
        self,
        pod: Pod,
        container: AnyContainer,
        services: Sequence[Service],
        around: Surroundings,
    ) -> dict[str, str]:
        """Return a container's variables in order; raises ConfigUnavailable."""
        links = pod.spec.enableServiceLinks is not False
        known = service_environment(services, pod.metadata.namespace, links=links)
        for source in container.envFrom:
            known.update(await self._from_source(pod.metadata.namespace, source))
        explicit: dict[str, str] = {}
        for variable in container.env:
            value = await self._value(pod, container, variable, {**known, **explicit}, around)
            if value is not None:
                explicit[variable.name] = value
        known.update(explicit)
        return known

    async def _value(
        self,
        pod: Pod,
        container: AnyContainer,
        variable: EnvVar,
        known: Mapping[str, str],
        around: Surroundings,
    ) -> str | None:
        if variable.valueFrom is None:
            return expand(variable.value, known)
        return await self._referred(pod, container, variable.valueFrom, around)

    async def _referred(
        self, pod: Pod, container: AnyContainer, source: EnvVarSource, around: Surroundings
    ) -> str | None:
        namespace = pod.metadata.namespace
        if source.fieldRef is not None:
            return field_value(pod, source.fieldRef.fieldPath, around)
        if source.resourceFieldRef is not None:
            return resource_value(pod, container, source.resourceFieldRef, around)
        if (ref := source.configMapKeyRef) is not None:
            data = await self._config_map(namespace, ref.name, optional=bool(ref.optional))
            return _key(
                data, ref.key, f"ConfigMap {namespace}/{ref.name}", optional=bool(ref.optional)
            )
        if (secret := source.secretKeyRef) is not None:
            data = await self._secret(namespace, secret.name, optional=bool(secret.optional))
            where = f"Secret {namespace}/{secret.name}"
            return _key(data, secret.key, where, optional=bool(secret.optional))
        return None

    async def _from_source(self, namespace: str, source: EnvFromSource) -> dict[str, str]:
        data: dict[str, str] = {}
        if (config := source.configMapRef) is not None:
            data = await self._config_map(namespace, config.name, optional=bool(config.optional))
        elif (secret := source.secretRef) is not None:
            data = await self._secret(namespace, secret.name, optional=bool(secret.optional))
        return {source.prefix + key: data[key] for key in sorted(data) if "=" not in key}

    async def _config_map(self, namespace: str, name: str, *, optional: bool) -> dict[str, str]:
        try:
            return (await self._client.get(ConfigMap, name, namespace)).data
        except NotFound as error:
            if optional:
                return {}
            raise ConfigUnavailable(f'configmap "{name}" not found') from error

    async def _secret(self, namespace: str, name: str, *, optional: bool) -> dict[str, str]:
        try:
            secret = await self._client.get(Secret, name, namespace)
        except NotFound as error:
            if optional:
                return {}
            raise ConfigUnavailable(f'secret "{name}" not found') from error
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
