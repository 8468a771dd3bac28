"""Warnings about containers: amounts, environment, ports, and annotations that became fields."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from kubelite.api.machinery.causes import quoted
from kubelite.api.registry.rules.values import JSON, items, part
from kubelite.api.registry.rules.warnings.texts import fractional

# The order in which Kubernetes visits a pod's containers, which decides which one is the duplicate.
_FIELDS = ("initContainers", "containers", "ephemeralContainers")
_SECCOMP = "container.seccomp.security.alpha.kubernetes.io/"
APP_ARMOR_WARNING = 'deprecated since v1.30; use the "appArmorProfile" field instead'
APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
_LOCALHOST = "localhost/"
_OLD_PROFILES = {"unconfined": "Unconfined", "runtime/default": "RuntimeDefault"}


def containers(
    prefix: str, spec: JSON, annotations: Mapping[str, str], *, is_template: bool
) -> Iterator[str]:
    """Warn about each container of a spec; `prefix` stands before `spec` and `metadata`."""
    profile = part(spec, "securityContext").get("appArmorProfile")
    windows = part(spec, "os").get("name") == "windows"
    for field in _FIELDS:
        for index, container in enumerate(items(spec, field)):
            if annotations:
                at = f"{prefix}metadata.annotations"
                yield from _seccomp(at, container, annotations)
                if is_template or not windows:
                    yield from _apparmor(at, container, annotations, profile)
            path = f"{prefix}spec.{field}[{index}]"
            if resources := container.get("resources"):
                for resource in ("memory", "ephemeral-storage"):
                    for kind in ("limits", "requests"):
                        amounts = resources.get(kind) or {}
                        yield from fractional(f"{path}.resources.{kind}", amounts, resource)
            if len(environment := items(container, "env")) > 1:
                yield from _hidden(f"{path}.env", environment)


def _seccomp(at: str, container: JSON, annotations: Mapping[str, str]) -> Iterator[str]:
    key = f"{_SECCOMP}{container.get('name', '')}"
    if key in annotations and not part(container, "securityContext").get("seccompProfile"):
        yield f'{at}[{key}]: non-functional in v1.27+; use the "seccompProfile" field instead'


def _apparmor(
    at: str, container: JSON, annotations: Mapping[str, str], profile: JSON | None
) -> Iterator[str]:
    """Warn of an annotation that is repeated neither by the container's field nor by the pod's."""
    key = f"{APP_ARMOR}{container.get('name', '')}"
    annotation = annotations.get(key)
    if annotation is None or part(container, "securityContext").get("appArmorProfile"):
        return
    if profile is None or profile != profile_of(annotation):
        yield f"{at}[{key}]: {APP_ARMOR_WARNING}"


def profile_of(annotation: str) -> JSON | None:
    """Return the AppArmor profile that an annotation names; None for one that names none."""
    if (kind := _OLD_PROFILES.get(annotation)) is not None:
        return {"type": kind}
    name = annotation.removeprefix(_LOCALHOST)
    if annotation.startswith(_LOCALHOST) and name:
        return {"type": "Localhost", "localhostProfile": name}
    return None


def _hidden(path: str, environment: list[JSON]) -> Iterator[str]:
    """Warn of variables that are set twice, unless the second value refers to the first one."""
    seen: set[str] = set()
    for index, variable in enumerate(environment):
        name, value = variable.get("name", ""), variable.get("value") or ""
        reference = f"$({name})"
        extends = reference in value and value != reference and not variable.get("valueFrom")
        if name in seen and not extends:
            yield (
                f"{path}[{index}]: hides previous definition of {quoted(name)}, "
                "which may be dropped when using apply"
            )
        seen.add(name)


_Place = tuple[int, str]  # the position among all ports of the pod, and the address in its spec


def ports(at: str, spec: JSON) -> Iterator[str]:
    """Warn of ports that are defined twice, over all containers.

    A pod may have thousands of ports, so an index limits the comparisons to conflicting ones.
    """
    found = [
        (f"{at}.{field}[{index}].ports[{place}]", port)
        for field in _FIELDS
        for index, container in enumerate(items(spec, field))
        for place, port in enumerate(items(container, "ports"))
    ]
    if len(found) > 1 or (found and found[0][1].get("hostIP")):
        yield from _clashes(found)
        yield from _names_twice(found)


def _clashes(found: list[tuple[str, JSON]]) -> Iterator[str]:
    # By container port and protocol, then by host port, then by host address.
    earlier: defaultdict[tuple[int, str], dict[int, dict[str, list[_Place]]]] = defaultdict(dict)
    for position, (path, port) in enumerate(found):
        host, number = port.get("hostIP") or "", port.get("hostPort") or 0
        if host and not number:
            yield f"{path}: hostIP set without hostPort: {_written(port)}"
        same = earlier[port.get("containerPort", 0), port.get("protocol", "")]
        clashing = sorted(_clashing(same, host, number))
        for (_, other), relation in clashing:
            yield f"{path}: {relation} port definition with {other}"
        same.setdefault(number, {}).setdefault(host, []).append((position, path))


def _clashing(
    same: dict[int, dict[str, list[_Place]]], host: str, number: int
) -> Iterator[tuple[_Place, str]]:
    equal = same.get(number, {})
    for place in equal.get(host, ()):
        yield place, "duplicate"
    # Without a host port on either side the addresses do not matter.
    for other in (0,) if number and 0 in same else () if number else tuple(same):
        for name, places in same[other].items():
            if (name, other) != (host, number):
                yield from ((place, "overlapping") for place in places)
    if number:
        unspecified = [name for name in equal if name] if not host else [""]
        for name in unspecified:
            yield from ((place, "dangerously ambiguous") for place in equal.get(name, ()))


def _names_twice(found: list[tuple[str, JSON]]) -> Iterator[str]:
    first: dict[str, str] = {}
    for path, port in found:
        if name := port.get("name"):
            other = first.setdefault(name, path)
            if other is not path:
                yield (
                    f"{path}: duplicate port name {quoted(name)} with {other}, services and "
                    f"probes that select ports by name will use {other}"
                )


def _written(port: JSON) -> str:
    """Format a port as Go prints it, since the warning of Kubernetes contains that."""
    shown = (("Name", "name"), ("HostPort", "hostPort"), ("ContainerPort", "containerPort"))
    numbers = " ".join(
        f"{title}:{port.get(field) or ('' if field == 'name' else 0)}" for title, field in shown
    )
    return f"{{{numbers} Protocol:{port.get('protocol', '')} HostIP:{port.get('hostIP', '')}}}"
