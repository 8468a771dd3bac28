"""Rules of roles, their bindings, and certificate requests."""

import base64
import binascii

from kubelite.api.kinds import enums
from kubelite.api.machinery import causes, names
from kubelite.api.registry.rules import labels
from kubelite.api.registry.rules.values import (
    JSON,
    Out,
    format_check,
    immutable,
    items,
    part,
    required_format,
)

_GROUP = "rbac.authorization.k8s.io"
USAGES = enums.KEY_USAGES.enum
_DECISIONS = ("Approved", "Denied", "Failed")
_EXCLUSIVE = "Approved and Denied conditions are mutually exclusive"


def role(thing: JSON) -> Out:
    """Check a Role."""
    out = Out()
    for index, rule in enumerate(items(thing, "rules")):
        _rule(out, f"rules[{index}]", rule, namespaced=True)
    return out


def cluster_role(thing: JSON) -> Out:
    """Check a ClusterRole."""
    out = Out()
    for index, rule in enumerate(items(thing, "rules")):
        _rule(out, f"rules[{index}]", rule, namespaced=False)
    aggregation = thing.get("aggregationRule")
    if aggregation is not None:
        path, found = (
            "aggregationRule.clusterRoleSelectors",
            items(aggregation, "clusterRoleSelectors"),
        )
        if not found:
            detail = "at least one clusterRoleSelector required if aggregationRule is non-nil"
            out.append(causes.required(path, detail))
        for index, selector in enumerate(found):
            labels.selector(out, f"{path}[{index}]", selector)
    return out


def _rule(out: Out, path: str, rule: JSON, *, namespaced: bool) -> None:
    if not rule.get("verbs"):
        out.append(causes.required(f"{path}.verbs", "verbs must contain at least one value"))
    urls = rule.get("nonResourceURLs")
    if urls:
        at = f"{path}.nonResourceURLs"
        if namespaced:
            detail = "namespaced rules cannot apply to non-resource URLs"
            out.append(causes.invalid(at, urls, detail))
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            detail = "rules cannot apply to both regular resources and non-resource URLs"
            out.append(causes.invalid(at, urls, detail))
        return
    if not rule.get("apiGroups"):
        detail = "resource rules must supply at least one api group"
        out.append(causes.required(f"{path}.apiGroups", detail))
    if not rule.get("resources"):
        detail = "resource rules must supply at least one resource"
        out.append(causes.required(f"{path}.resources", detail))


def role_binding(thing: JSON) -> Out:
    """Check a RoleBinding."""
    return _binding(thing, ("Role", "ClusterRole"), namespaced=True)


def cluster_role_binding(thing: JSON) -> Out:
    """Check a ClusterRoleBinding."""
    return _binding(thing, ("ClusterRole",), namespaced=False)


def _binding(thing: JSON, kinds: tuple[str, ...], *, namespaced: bool) -> Out:
    out = Out()
    reference = part(thing, "roleRef")
    if reference.get("apiGroup") != _GROUP:
        out.append(causes.unsupported("roleRef.apiGroup", reference.get("apiGroup", ""), (_GROUP,)))
    if reference.get("kind") not in kinds:
        out.append(causes.unsupported("roleRef.kind", reference.get("kind", ""), kinds))
    required_format(out, "roleRef.name", reference.get("name"), names.path_segment)
    for index, subject in enumerate(items(thing, "subjects")):
        _subject(out, f"subjects[{index}]", subject, namespaced=namespaced)
    return out


def _subject(out: Out, path: str, subject: JSON, *, namespaced: bool) -> None:
    name, kind, group = (subject.get(key, "") for key in ("name", "kind", "apiGroup"))
    if not name:
        out.append(causes.required(f"{path}.name"))
    if kind == "ServiceAccount":
        if name:
            format_check(out, f"{path}.name", name, names.dns_subdomain)
        if group:
            out.append(causes.unsupported(f"{path}.apiGroup", group, ("",)))
        if not namespaced and not subject.get("namespace"):
            out.append(causes.required(f"{path}.namespace"))
    elif kind in ("User", "Group"):
        if group != _GROUP:
            out.append(causes.unsupported(f"{path}.apiGroup", group, (_GROUP,)))
    else:
        supported = ("ServiceAccount", "User", "Group")
        out.append(causes.unsupported(f"{path}.kind", kind, supported))


def role_binding_update(new: JSON, old: JSON) -> Out:
    """Check a change of a RoleBinding; roleRef is immutable."""
    return role_binding(new) + _same_role(new, old)


def cluster_role_binding_update(new: JSON, old: JSON) -> Out:
    """Check a change of a ClusterRoleBinding; roleRef is immutable."""
    return cluster_role_binding(new) + _same_role(new, old)


def _same_role(new: JSON, old: JSON) -> Out:
    if part(new, "roleRef") == part(old, "roleRef"):
        return Out()
    return Out([causes.invalid("roleRef", part(new, "roleRef"), "cannot change roleRef")])


def signing_request(thing: JSON) -> Out:
    """Check a CertificateSigningRequest, including the signature of its request."""
    out = Out()
    spec = part(thing, "spec")
    text = spec.get("request") or ""
    if wrong := request_error(text):
        out.append(causes.invalid("spec.request", text, wrong))
    usages = items(spec, "usages")
    if not usages:
        out.append(causes.required("spec.usages"))
    known: set[str] = set()
    for index, usage in enumerate(usages):
        if usage not in USAGES:
            out.append(causes.unsupported(f"spec.usages[{index}]", usage, USAGES))
        if usage in known:
            out.append(causes.duplicate(f"spec.usages[{index}]", usage))
        known.add(usage)
    _signer(out, "spec.signerName", spec.get("signerName", ""))
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < 600:
        detail = "may not specify a duration less than 600 seconds (10 minutes)"
        out.append(causes.invalid("spec.expirationSeconds", seconds, detail))
    _conditions(out, items(part(thing, "status"), "conditions"))
    return out


def request_error(text: str) -> str:
    """Return why a base64 PEM request is invalid; "": it is valid."""
    # Only clusters that issue certificates need the parser, so import it here.
    from kubelite.api.auth.signing import RequestInvalid, read_request

    try:
        pem = base64.b64decode(text, validate=True)
        if b"-----BEGIN CERTIFICATE REQUEST-----" not in pem:
            return "PEM block type must be CERTIFICATE REQUEST"
        read_request(pem)
    except (binascii.Error, RequestInvalid) as error:
        return str(error)
    return ""


def _signer(out: Out, path: str, name: str) -> None:
    if not name:
        out.append(causes.required(path))
        return
    if name == "kubernetes.io/legacy-unknown":
        detail = "the legacy signerName is not allowed via this API version"
        out.append(causes.invalid(path, name, detail))
        return
    host, slash, rest = name.partition("/")
    if not slash or not rest:
        detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        out.append(causes.invalid(path, name, detail))
        return
    if len(host.split(".")) < 2:
        detail = "should be a domain with at least two segments separated by dots"
        out.append(causes.invalid(path, host, detail))
    format_check(out, path, host, names.dns_subdomain)
    if len(name) > 571:
        out.append(causes.too_long(path, 571))


def _conditions(out: Out, found: list[JSON]) -> None:
    seen: set[str] = set()
    for index, condition in enumerate(found):
        at, kind = f"status.conditions[{index}]", condition.get("type", "")
        status = condition.get("status", "")
        if not kind:
            out.append(causes.required(f"{at}.type"))
        allowed = ("True",) if kind in _DECISIONS else ("False", "True", "Unknown")
        if not status:
            out.append(causes.required(f"{at}.status"))
        elif status not in allowed:
            out.append(causes.unsupported(f"{at}.status", status, allowed))
        if kind in seen:
            out.append(causes.duplicate(f"{at}.type", kind))
        seen.add(kind)
        if kind in ("Approved", "Denied") and {"Approved", "Denied"} <= seen:
            out.append(causes.invalid("status.conditions", kind, _EXCLUSIVE))


def _of_type(thing: JSON, kind: str) -> list[JSON]:
    return [each for each in items(part(thing, "status"), "conditions") if each.get("type") == kind]


def _request_update(new: JSON, old: JSON, *, decides: bool, issues: bool) -> Out:
    out = signing_request(new)
    path = "status.conditions"
    for kind in _DECISIONS:
        after, before = _of_type(new, kind), _of_type(old, kind)
        if len(after) < len(before):
            detail = f"updates may not remove a condition of type {causes.quoted(kind)}"
            out.append(causes.forbidden(path, detail))
        elif kind != "Failed" and not decides and after != before:
            verb = "add" if len(after) > len(before) else "modify"
            detail = f"updates may not {verb} a condition of type {causes.quoted(kind)}"
            out.append(causes.forbidden(path, detail))
    issued, was = (part(each, "status").get("certificate") for each in (new, old))
    if (issued or "") != (was or ""):
        if not issues:
            detail = "updates may not set certificate content"
            out.append(causes.forbidden("status.certificate", detail))
        elif was:
            detail = "updates may not modify existing certificate content"
            out.append(causes.forbidden("status.certificate", detail))
    return out


def signing_request_update(new: JSON, old: JSON) -> Out:
    """Check a change outside approval and status; the spec is immutable."""
    out = _request_update(new, old, decides=False, issues=False)
    immutable(out, "spec", part(new, "spec"), part(old, "spec"))
    return out


def signing_request_status(new: JSON, old: JSON) -> Out:
    """Check a change of the status, which may issue the certificate."""
    return _request_update(new, old, decides=False, issues=True)


def signing_request_approval(new: JSON, old: JSON) -> Out:
    """Check a change of approval, which may approve or deny."""
    return _request_update(new, old, decides=True, issues=False)
