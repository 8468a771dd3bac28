"""Rules of containers: main, init and ephemeral ones."""

from msgspec import Struct

from kubelite.api.kinds import enums
from kubelite.api.machinery import causes, names
from kubelite.api.registry.rules import environment, probes, resources, security, volumes
from kubelite.api.registry.rules.values import JSON, Out, items, one_of, required_format

_PULL = enums.PULL_POLICIES.enum
_MESSAGE = ("File", "FallbackToLogsOnError")
_PROTOCOLS = enums.PROTOCOLS.enum
_RESTART = enums.RESTART_POLICIES.enum
_ONLY_SIDECARS = "may not be set for init containers without restartPolicy=Always"
_NOT_EPHEMERAL = "cannot be set for an Ephemeral Container"
_FORBIDDEN_EPHEMERAL = (
    "ports",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "resources",
    "restartPolicyRules",
    "resizePolicy",
    "restartPolicy",
)
_PROBES = (("livenessProbe", True), ("readinessProbe", False), ("startupProbe", True))


class PodFacts(Struct, frozen=True):
    """The facts about a pod that the rules of its containers need."""

    volumes: dict[str, JSON]
    claims: frozenset[str]
    grace_seconds: int | None
    restart_policy: str
    system: str | None
    host_users: bool


def main_containers(out: Out, path: str, found: list[JSON], pod: PodFacts) -> None:
    """Check the main containers."""
    if not found:
        out.append(causes.required(path))
        return
    seen: set[str] = set()
    for index, container in enumerate(found):
        at, name = f"{path}[{index}]", container.get("name", "")
        _shared(out, at, container, pod)
        if name in seen:
            out.append(causes.duplicate(f"{at}.name", name))
        seen.add(name)
        _hooks(out, at, container, pod)
        if "restartPolicy" in container or "restartPolicyRules" in container:
            _restart(out, at, container)
    host_ports(out, path, found)


def init_containers(
    out: Out, path: str, found: list[JSON], main: list[JSON], pod: PodFacts
) -> None:
    """Check init containers and sidecars."""
    seen = {container.get("name", "") for container in main}
    for index, container in enumerate(found):
        at, name = f"{path}[{index}]", container.get("name", "")
        _shared(out, at, container, pod)
        if "restartPolicy" in container or "restartPolicyRules" in container:
            _restart(out, at, container)
        if name in seen:
            out.append(causes.duplicate(f"{at}.name", name))
        elif name:
            seen.add(name)
        host_ports(out, path, [container])
        if container.get("restartPolicy") == "Always":
            _hooks(out, at, container, pod)
            continue
        for field in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
            if container.get(field) is not None:
                out.append(causes.forbidden(f"{at}.{field}", _ONLY_SIDECARS))


def ephemeral_containers(
    out: Out, path: str, found: list[JSON], others: list[JSON], pod: PodFacts
) -> None:
    """Check ephemeral containers."""
    names_of_others = {container.get("name", "") for container in others}
    seen = set(names_of_others)
    for index, container in enumerate(found):
        at, name = f"{path}[{index}]", container.get("name", "")
        _shared(out, at, container, pod)
        trimmed_image(out, at, container)
        if name in seen:
            out.append(causes.duplicate(f"{at}.name", name))
        seen.add(name)
        target = container.get("targetContainerName")
        if target and target not in names_of_others:
            out.append(causes.not_found(f"{at}.targetContainerName", target))
        for field in _FORBIDDEN_EPHEMERAL:
            if container.get(field):
                out.append(causes.forbidden(f"{at}.{field}", _NOT_EPHEMERAL))
        for position, mount in enumerate(items(container, "volumeMounts")):
            for field in ("subPath", "subPathExpr"):
                if mount.get(field):
                    where = f"{at}.volumeMounts[{position}].{field}"
                    out.append(causes.forbidden(where, _NOT_EPHEMERAL))


def trimmed_image(out: Out, path: str, container: JSON) -> None:
    """Reject leading and trailing blanks in an image name."""
    image = container.get("image", "")
    if image != image.strip():
        detail = "must not have leading or trailing whitespace"
        out.append(causes.invalid(f"{path}.image", image, detail))


def _shared(out: Out, path: str, container: JSON, pod: PodFacts) -> None:
    name = container.get("name")
    if not name or names.dns_label(name):
        required_format(out, f"{path}.name", name, names.dns_label)
    if not container.get("image"):
        out.append(causes.required(f"{path}.image"))
    policy = container.get("terminationMessagePolicy")
    if policy not in _MESSAGE:
        one_of(out, f"{path}.terminationMessagePolicy", policy, _MESSAGE)
    policy = container.get("imagePullPolicy")
    if policy not in _PULL:
        one_of(out, f"{path}.imagePullPolicy", policy, _PULL)
    if found := container.get("ports"):
        _ports(out, f"{path}.ports", found)
    if wanted := container.get("resources"):
        resources.requirements(out, f"{path}.resources", wanted)
        resources.claims(out, f"{path}.resources", wanted, pod.claims)
    if found := container.get("resizePolicy"):
        _resize(out, f"{path}.resizePolicy", found, pod.restart_policy)
    if context := container.get("securityContext"):
        at = f"{path}.securityContext"
        security.container_context(out, at, context, host_users=pod.host_users)
    _inputs(out, path, container, pod)


def _inputs(out: Out, path: str, container: JSON, pod: PodFacts) -> None:
    if found := container.get("env"):
        environment.variables(out, f"{path}.env", found)
    if found := container.get("envFrom"):
        environment.sources(out, f"{path}.envFrom", found)
    if container.get("volumeMounts"):
        volumes.mounts(out, f"{path}.volumeMounts", container, pod.volumes)
    if container.get("volumeDevices"):
        volumes.devices(out, f"{path}.volumeDevices", container, pod.volumes)


def _hooks(out: Out, path: str, container: JSON, pod: PodFacts) -> None:
    if (value := container.get("lifecycle")) is not None:
        probes.lifecycle(out, f"{path}.lifecycle", value, pod.grace_seconds, pod.system)
    for field, once in _PROBES:
        if (value := container.get(field)) is not None:
            probes.probe(out, f"{path}.{field}", value, once=once)


def _ports(out: Out, path: str, found: list[JSON]) -> None:
    seen: set[str] = set()
    for index, port in enumerate(found):
        name, number = port.get("name"), port.get("containerPort")
        if name:
            if wrong := names.port_name(name):
                out.extend(causes.invalid(f"{path}[{index}].name", name, each) for each in wrong)
            elif name in seen:
                out.append(causes.duplicate(f"{path}[{index}].name", name))
            else:
                seen.add(name)
        if not number:
            out.append(causes.required(f"{path}[{index}].containerPort"))
        elif wrong := names.port_number(number):
            out.append(causes.invalid(f"{path}[{index}].containerPort", number, wrong[0]))
        host = port.get("hostPort")
        if host and (wrong := names.port_number(host)):
            out.append(causes.invalid(f"{path}[{index}].hostPort", host, wrong[0]))
        if port.get("protocol") not in _PROTOCOLS:
            one_of(out, f"{path}[{index}].protocol", port.get("protocol"), _PROTOCOLS)


def host_ports(out: Out, path: str, found: list[JSON]) -> None:
    """Reject duplicate host ports."""
    seen: set[str] = set()
    for index, container in enumerate(found):
        for position, port in enumerate(items(container, "ports")):
            if not port.get("hostPort"):
                continue
            text = f"{port.get('protocol', '')}/{port.get('hostIP', '')}/{port['hostPort']}"
            if text in seen:
                out.append(causes.duplicate(f"{path}[{index}].ports[{position}].hostPort", text))
            seen.add(text)


def _resize(out: Out, path: str, found: list[JSON], restart_policy: str) -> None:
    seen: set[str] = set()
    for index, policy in enumerate(found):
        resource, action = policy.get("resourceName", ""), policy.get("restartPolicy", "")
        if resource in seen:
            out.append(causes.duplicate(f"{path}[{index}]", resource))
        seen.add(resource)
        one_of(out, path, resource, ("cpu", "memory"))
        one_of(out, path, action, ("NotRequired", "RestartContainer"))
        if restart_policy == "Never" and action != "NotRequired":
            detail = "must be 'NotRequired' when pod `restartPolicy` is 'Never'"
            out.append(causes.invalid(path, action, detail))


def _restart(out: Out, path: str, container: JSON) -> None:
    policy, rules = container.get("restartPolicy"), items(container, "restartPolicyRules")
    if policy is None:
        if rules:
            detail = "must specify restartPolicy when restart rules are used"
            out.append(causes.required(f"{path}.restartPolicy", detail))
    elif policy not in _RESTART:
        out.append(causes.unsupported(f"{path}.restartPolicy", policy, _RESTART))
    if len(rules) > 20:
        out.append(causes.too_many(f"{path}.restartPolicyRules", len(rules), 20))
    for index, rule in enumerate(rules):
        at = f"{path}.restartPolicyRules[{index}]"
        if rule.get("action") not in ("Restart", "RestartAllContainers"):
            supported = ("Restart", "RestartAllContainers")
            out.append(causes.unsupported(f"{at}.action", rule.get("action", ""), supported))
        codes = rule.get("exitCodes")
        if codes is None:
            out.append(causes.required(f"{at}.exitCodes", "must be specified"))
            continue
        if codes.get("operator") not in ("In", "NotIn"):
            field, value = f"{at}.exitCodes.operator", codes.get("operator", "")
            out.append(causes.unsupported(field, value, ("In", "NotIn")))
        if len(items(codes, "values")) > 255:
            field = f"{at}.exitCodes.values"
            out.append(causes.too_many(field, len(codes["values"]), 255))
