"""Rules of pods: a new pod, and the few fields that an update may change."""

import copy
from collections.abc import Mapping
from typing import Any

from kubelite.api.machinery import causes, names
from kubelite.api.registry.rules import labels, placement, resources, security, volumes
from kubelite.api.registry.rules.containers import (
    PodFacts,
    ephemeral_containers,
    init_containers,
    main_containers,
    trimmed_image,
)
from kubelite.api.registry.rules.difference import difference
from kubelite.api.registry.rules.environment import file_volumes
from kubelite.api.registry.rules.ip_formats import address
from kubelite.api.registry.rules.metadata import annotations
from kubelite.api.registry.rules.values import (
    INT32_MAX,
    JSON,
    Out,
    format_check,
    in_range,
    items,
    one_of,
    part,
)

RESTART_POLICIES = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_PREEMPTION = ("PreemptLowerPriority", "Never")
_NAMESERVERS_MAX, _SEARCHES_MAX, _SEARCH_CHARACTERS_MAX = 3, 32, 2048
_GATED_NODE = "cannot be set until all schedulingGates have been cleared"
_NO_TOKEN = "must not be specified when serviceAccountName is not set"  # noqa: S105 -- a sentence, no secret
_UPDATABLE = (
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


def validate(pod: JSON) -> Out:
    """Check a pod that is to be created."""
    out = Out()
    spec = part(pod, "spec")
    _whole(out, pod, spec)
    if spec.get("ephemeralContainers"):
        out.append(causes.forbidden("spec.ephemeralContainers", "cannot be set on create"))
    if spec.get("nodeName") and spec.get("schedulingGates"):
        out.append(causes.forbidden("spec.nodeName", _GATED_NODE))
    return out


def _whole(out: Out, pod: JSON, spec: JSON) -> None:
    meta = part(pod, "metadata")
    cost = part(meta, "annotations").get(_DELETION_COST)
    if cost is not None and not _is_int32(cost):
        path = f"metadata.annotations[{_DELETION_COST}]"
        out.append(causes.invalid(path, cost, "must be a 32bit integer"))
    pod_spec(out, "spec", spec, meta.get("name", ""), is_pod=True)
    if not spec.get("serviceAccountName"):
        for index, volume in enumerate(items(spec, "volumes")):
            for position, source in enumerate(items(part(volume, "projected"), "sources")):
                if source.get("serviceAccountToken") is not None:
                    at = f"spec.volumes[{index}].projected.sources[{position}].serviceAccountToken"
                    out.append(causes.forbidden(at, _NO_TOKEN))
    for field in ("containers", "initContainers"):
        for index, container in enumerate(items(spec, field)):
            trimmed_image(out, f"spec.{field}[{index}]", container)


def _is_int32(text: str) -> bool:
    bare = text.removeprefix("-")
    if not (bare.isdigit() and bare.isascii()) or len(bare.lstrip("0")) > 10:
        return False
    return -INT32_MAX - 1 <= int(text[-12:]) <= INT32_MAX


def pod_template(out: Out, path: str, template: JSON) -> None:
    """Check a PodTemplateSpec."""
    meta = part(template, "metadata")
    labels.labels(out, f"{path}.labels", meta.get("labels"))
    annotations(out, f"{path}.annotations", meta.get("annotations"))
    spec = part(template, "spec")
    pod_spec(out, f"{path}.spec", spec, "")
    if spec.get("ephemeralContainers"):
        at = f"{path}.spec.ephemeralContainers"
        out.append(causes.forbidden(at, "ephemeral containers not allowed in pod template"))


def pod_spec(out: Out, path: str, spec: JSON, name: str, *, is_pod: bool = False) -> None:
    """Check a PodSpec, of the named pod or of a template."""
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is None:
        out.append(causes.required(f"{path}.terminationGracePeriodSeconds"))
    found = spec.get("volumes")
    claims = spec.get("resourceClaims")
    facts = PodFacts(
        volumes.volumes(out, f"{path}.volumes", found, name) if found else {},
        frozenset(claim.get("name", "") for claim in claims) if claims else frozenset(),
        grace,
        spec.get("restartPolicy", ""),
        part(spec, "os").get("name"),
        spec.get("hostUsers") is not False,
    )
    main, first = items(spec, "containers"), items(spec, "initContainers")
    if claims:
        _claims(out, f"{path}.resourceClaims", claims)
    main_containers(out, f"{path}.containers", main, facts)
    if first:
        init_containers(out, f"{path}.initContainers", first, main, facts)
    if later := spec.get("ephemeralContainers"):
        ephemeral_containers(out, f"{path}.ephemeralContainers", later, [*main, *first], facts)
    if spec.get("hostNetwork"):
        _host_network(out, f"{path}.containers", main, is_pod=is_pod)
    one_of(out, f"{path}.restartPolicy", spec.get("restartPolicy"), RESTART_POLICIES)
    one_of(out, f"{path}.dnsPolicy", spec.get("dnsPolicy"), _DNS_POLICIES)
    security.pod_context(out, f"{path}.securityContext", spec.get("securityContext"), spec)
    _names(out, path, spec)
    _scheduling(out, path, spec)
    _optional(out, path, spec)
    for field in ("containers", "initContainers"):
        for index, container in enumerate(items(spec, field)):
            if container.get("env"):
                file_volumes(out, f"{path}.{field}[{index}]", container, facts.volumes)


_NAMED = (
    ("serviceAccountName", names.dns_subdomain),
    ("nodeName", names.dns_subdomain),
    ("hostname", names.dns_label),
    ("subdomain", names.dns_label),
    ("priorityClassName", names.dns_subdomain),
    ("runtimeClassName", names.dns_subdomain),
)


def _names(out: Out, path: str, spec: JSON) -> None:
    for field, check in _NAMED:
        value = spec.get(field)
        if value and check(value):
            format_check(out, f"{path}.{field}", value, check)
    if (override := spec.get("hostnameOverride")) is not None:
        at = f"{path}.hostnameOverride"
        if spec.get("setHostnameAsFQDN"):
            out.append(causes.forbidden(at, "may not be specified when setHostnameAsFQDN is true"))
        if spec.get("hostNetwork"):
            out.append(causes.forbidden(at, "may not be specified when hostNetwork is true"))
        if len(override) > 64:
            out.append(causes.too_long(at, 64))
        format_check(out, at, override, names.dns_subdomain)


def _scheduling(out: Out, path: str, spec: JSON) -> None:
    if found := spec.get("nodeSelector"):
        labels.labels(out, f"{path}.nodeSelector", found)
    if found := spec.get("affinity"):
        placement.affinity(out, f"{path}.affinity", found)
    if found := spec.get("tolerations"):
        placement.tolerations(out, f"{path}.tolerations", found)
    if found := spec.get("topologySpreadConstraints"):
        placement.spread(out, f"{path}.topologySpreadConstraints", found)
    seen: set[str] = set()
    for index, gate in enumerate(items(spec, "schedulingGates")):
        at, name = f"{path}.schedulingGates[{index}]", gate.get("name", "")
        format_check(out, at, name, names.qualified_name)
        if name in seen:
            out.append(causes.duplicate(at, name))
        seen.add(name)
    for index, gate in enumerate(items(spec, "readinessGates")):
        at = f"{path}.readinessGates[{index}].conditionType"
        format_check(out, at, gate.get("conditionType", ""), names.qualified_name)
    if policy := spec.get("preemptionPolicy"):
        one_of(out, f"{path}.preemptionPolicy", policy, _PREEMPTION)


def _optional(out: Out, path: str, spec: JSON) -> None:
    in_range(out, f"{path}.activeDeadlineSeconds", spec.get("activeDeadlineSeconds"), 1, INT32_MAX)
    for index, secret in enumerate(items(spec, "imagePullSecrets")):
        if set(secret) - {"name"}:
            at = f"{path}.imagePullSecrets[{index}]"
            out.append(causes.invalid(at, secret, "only name may be set"))
    for index, alias in enumerate(items(spec, "hostAliases")):
        at = f"{path}.hostAliases[{index}]"
        address(out, f"{at}.ip", alias.get("ip", ""))
        for position, host in enumerate(items(alias, "hostnames")):
            format_check(out, f"{at}.hostnames[{position}]", host, names.dns_subdomain)
    if spec.get("dnsConfig") is not None or spec.get("dnsPolicy") == "None":
        _dns(out, f"{path}.dnsConfig", spec)
    if overhead := spec.get("overhead"):
        resources.requirements(out, f"{path}.overhead", {"limits": overhead})
    if wanted := spec.get("resources"):
        resources.requirements(out, f"{path}.resources", wanted, whole_pod=True)
        if wanted.get("claims"):
            detail = "claims may not be set for Resources at pod-level"
            out.append(causes.forbidden(f"{path}.resources.claims", detail))
    if (system := spec.get("os")) is not None:
        one_of(out, f"{path}.os.name", system.get("name"), ("linux", "windows"))
        security.operating_system(out, path, spec)
    _host(out, path, spec)


def _host(out: Out, path: str, spec: JSON) -> None:
    if spec.get("hostUsers") is False:
        for field, shown in (
            ("hostNetwork", "hostNetwork"),
            ("hostPID", "HostPID"),
            ("hostIPC", "HostIPC"),
        ):
            if spec.get(field):
                out.append(causes.forbidden(f"{path}.{shown}", "when `hostUsers` is false"))
        for field in ("initContainers", "containers", "ephemeralContainers"):
            for index, container in enumerate(items(spec, field)):
                if container.get("volumeDevices"):
                    at = f"{path}.{field}[{index}].volumeDevices"
                    out.append(causes.forbidden(at, "when `hostUsers` is false"))


def _dns(out: Out, path: str, spec: JSON) -> None:
    config, searches = spec.get("dnsConfig"), items(part(spec, "dnsConfig"), "searches")
    servers = items(part(spec, "dnsConfig"), "nameservers")
    if spec.get("dnsPolicy") == "None":
        if config is None:
            detail = "must provide `dnsConfig` when `dnsPolicy` is None"
            out.append(causes.required(path, detail))
            return
        if not servers:
            detail = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            out.append(causes.required(f"{path}.nameservers", detail))
            return
    if len(servers) > _NAMESERVERS_MAX:
        detail = f"must not have more than {_NAMESERVERS_MAX} nameservers"
        out.append(causes.invalid(f"{path}.nameservers", servers, detail))
    for index, server in enumerate(servers):
        address(out, f"{path}.nameservers[{index}]", server)
    if len(searches) > _SEARCHES_MAX:
        detail = f"must not have more than {_SEARCHES_MAX} search paths"
        out.append(causes.invalid(f"{path}.searches", searches, detail))
    if len(" ".join(searches)) > _SEARCH_CHARACTERS_MAX:
        detail = (
            f"must not have more than {_SEARCH_CHARACTERS_MAX} characters (including spaces) "
            "in the search list"
        )
        out.append(causes.invalid(f"{path}.searches", searches, detail))
    for index, search in enumerate(searches):
        if search != ".":
            at, bare = f"{path}.searches[{index}]", search.removesuffix(".")
            format_check(out, at, bare.replace("_", "-").strip("-") or bare, names.dns_subdomain)
    for index, option in enumerate(items(config or {}, "options")):
        if not option.get("name"):
            out.append(causes.required(f"{path}.options[{index}]", "must not be empty"))


def _host_network(out: Out, path: str, found: list[JSON], *, is_pod: bool) -> None:
    for index, container in enumerate(found):
        for position, port in enumerate(items(container, "ports")):
            host = port.get("hostPort", 0)
            if (is_pod or host) and host != port.get("containerPort", 0):
                at = f"{path}[{index}].ports[{position}].hostPort"
                detail = "must match `containerPort` when `hostNetwork` is true"
                out.append(causes.invalid(at, host, detail))


def _claims(out: Out, path: str, found: list[JSON]) -> None:
    seen: set[str] = set()
    sources = ("resourceClaimName", "resourceClaimTemplateName")
    for index, claim in enumerate(found):
        at, name = f"{path}[{index}]", claim.get("name", "")
        if not name:
            out.append(causes.required(f"{at}.name"))
        elif name in seen:
            out.append(causes.duplicate(f"{at}.name", name))
        else:
            format_check(out, f"{at}.name", name, names.dns_label)
            seen.add(name)
        told = [field for field in sources if claim.get(field) is not None]
        if len(told) != 1:
            wrong = "at most one of" if told else "must specify one of:"
            detail = f"{wrong} `resourceClaimName`, `resourceClaimTemplateName`"
            if told:
                detail = (
                    f"{wrong} `resourceClaimName` or `resourceClaimTemplateName` may be specified"
                )
            out.append(causes.invalid(at, claim, detail))
        for field in told:
            format_check(out, f"{at}.{field}", claim[field], names.dns_subdomain)


def validate_update(new: JSON, old: JSON) -> Out:
    """Check a change of a pod's own fields."""
    out = Out()
    after, before = part(new, "spec"), part(old, "spec")
    if after == before and part(new, "metadata").get("annotations") == part(old, "metadata").get(
        "annotations"
    ):
        return out
    _whole(out, new, after)
    if after == before:
        return out
    for field in ("containers", "initContainers"):
        if len(items(after, field)) != len(items(before, field)):
            detail = "pod updates may not add or remove containers"
            out.append(causes.forbidden(f"spec.{field}", detail))
            return out
    _deadline(out, after.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds"))
    _only_added(out, items(after, "tolerations"), items(before, "tolerations"))
    _only_deleted(out, items(after, "schedulingGates"), items(before, "schedulingGates"))
    was, wanted = _emptied(before), _munged(after, before)
    if wanted != was:
        detail = f"pod updates may not change fields other than {_UPDATABLE}\n"
        out.append(causes.forbidden("spec", detail + difference(was, wanted)))
    return out


def _deadline(out: Out, new: int | None, old: int | None) -> None:
    path = "spec.activeDeadlineSeconds"
    if new is not None:
        in_range(out, path, new, 0, INT32_MAX)
        if old is not None and old < new:
            detail = "must be less than or equal to previous value"
            out.append(causes.invalid(path, new, detail))
    elif old is not None:
        detail = "must not update from a positive integer to nil value"
        out.append(causes.invalid(path, None, detail))


def _only_added(out: Out, new: list[JSON], old: list[JSON]) -> None:
    def fixed(toleration: JSON) -> tuple[Any, ...]:
        return tuple(sorted(each for each in toleration.items() if each[0] != "tolerationSeconds"))

    kept = {fixed(toleration) for toleration in new}
    for toleration in old:
        if fixed(toleration) not in kept:
            detail = "existing toleration can not be modified except its tolerationSeconds"
            out.append(causes.forbidden("spec.tolerations", detail))
            return


def _only_deleted(out: Out, new: list[JSON], old: list[JSON]) -> None:
    known = {gate.get("name") for gate in old}
    for index, gate in enumerate(new):
        if (name := gate.get("name")) not in known:
            detail = f"only deletion is allowed, but found new scheduling gate '{name}'"
            out.append(causes.forbidden(f"spec.schedulingGates[{index}].name", detail))


def _emptied(spec: JSON) -> dict[str, Any]:
    """Drop null and empty fields, which are equivalent to absent ones."""
    return {key: value for key, value in spec.items() if value not in (None, {}, [], "", False)}


def _munged(new: JSON, old: JSON) -> dict[str, Any]:
    """Return the new spec with all mutable fields restored from the old one."""
    spec: dict[str, Any] = copy.copy(dict(new))
    for field in ("containers", "initContainers"):
        if field in spec:
            spec[field] = [
                {**container, "image": before.get("image", "")}
                for container, before in zip(items(new, field), items(old, field), strict=True)
            ]
    restored = ["activeDeadlineSeconds", "schedulingGates", "tolerations"]
    grace = old.get("terminationGracePeriodSeconds")
    if grace is not None and grace < 0 and new.get("terminationGracePeriodSeconds") == 1:
        restored.append("terminationGracePeriodSeconds")
    if old.get("schedulingGates"):
        restored += _gated(new, old)
    for field in restored:
        if field in old:
            spec[field] = old[field]
        else:
            spec.pop(field, None)
    return _emptied(spec)


def _gated(new: JSON, old: JSON) -> list[str]:
    """Return the fields that may change while a pod has scheduling gates: node selection may only get narrower."""
    selector = part(new, "nodeSelector")
    narrowed: list[str] = []
    if all(selector.get(key) == value for key, value in part(old, "nodeSelector").items()):
        narrowed.append("nodeSelector")
    after, before = dict(part(new, "affinity")), dict(part(old, "affinity"))
    after.pop("nodeAffinity", None)
    before.pop("nodeAffinity", None)
    if _emptied(after) == _emptied(before) and not part(old, "affinity").get("nodeAffinity"):
        narrowed.append("affinity")
    return narrowed


def validate_status_update(new: JSON, old: JSON) -> Out:
    """Check a change of a pod's status."""
    out = Out()
    status = part(new, "status")
    if nominated := status.get("nominatedNodeName"):
        format_check(out, "status.nominatedNodeName", nominated, names.dns_subdomain)
    _status_addresses(out, status, part(old, "status"), "podIPs")
    hosts = items(status, "hostIPs")
    if hosts and hosts[0].get("ip", "") != status.get("hostIP", ""):
        detail = "must be equal to `hostIP`"
        out.append(causes.invalid("status.hostIPs[0].ip", hosts[0].get("ip", ""), detail))
    _status_addresses(out, status, part(old, "status"), "hostIPs")
    for index, condition in enumerate(items(status, "conditions")):
        at = f"status.conditions[{index}].status"
        one_of(out, at, condition.get("status"), ("False", "True", "Unknown"))
    if part(old, "spec").get("restartPolicy") != "Always":
        for field in ("containerStatuses", "initContainerStatuses"):
            _no_revival(
                out, f"status.{field}", status, part(old, "status"), field, part(old, "spec")
            )
    return out


def _status_addresses(out: Out, status: JSON, old: JSON, field: str) -> None:
    """Check the addresses of a pod or its host: one, or one of each family. Those it has already may stay."""
    found = [entry.get("ip", "") for entry in items(status, field)]
    known = {entry.get("ip", "") for entry in items(old, field)}
    for index, text in enumerate(found):
        if text not in known:
            address(out, f"status.{field}[{index}]", text)
    if len(found) > 1 and sorted(":" in text for text in found) != [False, True]:
        detail = "may specify no more than one IP for each IP family"
        out.append(causes.invalid(f"status.{field}", found, detail))


def _no_revival(out: Out, path: str, new: JSON, old: JSON, field: str, spec: JSON) -> None:
    """Reject restarting a terminated container that must not run again."""
    after: Mapping[str, JSON] = {each.get("name", ""): each for each in items(new, field)}
    rules = {
        container.get("name"): container.get("restartPolicy") or container.get("restartPolicyRules")
        for kind in ("containers", "initContainers")
        for container in items(spec, kind)
    }
    for index, before in enumerate(items(old, field)):
        ended = part(before, "state").get("terminated")
        now = after.get(before.get("name", ""))
        if ended is None or now is None or rules.get(before.get("name")):
            continue
        if spec.get("restartPolicy") == "OnFailure" and ended.get("exitCode"):
            continue
        if part(now, "state").get("terminated") is None:
            detail = "may not be transitioned to non-terminated state"
            out.append(causes.forbidden(f"{path}[{index}].state", detail))


def validate_ephemeral_update(new: JSON, old: JSON) -> Out:
    """Check that ephemeral containers are only added."""
    out = Out()
    _whole(out, new, part(new, "spec"))
    after = {each.get("name"): each for each in items(part(new, "spec"), "ephemeralContainers")}
    path = "spec.ephemeralContainers"
    for before in items(part(old, "spec"), "ephemeralContainers"):
        name = before.get("name", "")
        if name not in after:
            detail = f"existing ephemeral containers {causes.quoted(name)} may not be removed\n"
            out.append(causes.forbidden(path, detail))
        elif after[name] != before:
            detail = f"existing ephemeral containers {causes.quoted(name)} may not be changed\n"
            out.append(causes.forbidden(path, detail + difference(before, after[name])))
    return out


def validate_binding(binding: JSON) -> Out:
    """Check a Binding of a pod to a node."""
    out = Out()
    target = part(binding, "target")
    kind = target.get("kind", "")
    if kind and kind != "Node":
        out.append(causes.unsupported("target.kind", kind, ("Node", "<empty>")))
    if not target.get("name"):
        out.append(causes.required("target.name"))
    return out
