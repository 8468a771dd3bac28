"""Rules of the kinds that extend the API: webhooks, admission policies, API services."""

from urllib.parse import urlsplit

from kubelite.api.kinds import enums
from kubelite.api.machinery import causes, names
from kubelite.api.registry.rules import labels
from kubelite.api.registry.rules.match_conditions import match_conditions
from kubelite.api.registry.rules.values import (
    JSON,
    Out,
    decoded_size,
    format_check,
    items,
    one_of,
    part,
    required,
    required_format,
)

_VERSIONS = ("v1", "v1beta1")
_OPERATIONS = enums.OPERATIONS.enum
_POLICIES = enums.FAILURE_POLICIES.enum
_STATUSES = ("True", "False", "Unknown")
_STAR = "if '*' is present, must not specify other "


def webhooks(thing: JSON) -> Out:
    """Check a Validating- or MutatingWebhookConfiguration."""
    out = Out()
    seen: set[str] = set()
    mutating = thing.get("kind") == "MutatingWebhookConfiguration"
    for index, hook in enumerate(items(thing, "webhooks")):
        at, name = f"webhooks[{index}]", hook.get("name", "")
        _qualified(out, f"{at}.name", name)
        _webhook(out, at, hook)
        if mutating and (policy := hook.get("reinvocationPolicy")) is not None:
            one_of(out, f"{at}.reinvocationPolicy", policy, enums.REINVOCATION_POLICIES.enum)
        if name and name in seen:
            out.append(causes.duplicate(f"{at}.name", name))
        seen.add(name)
    return out


def _qualified(out: Out, path: str, name: str) -> None:
    required_format(out, path, name, names.dns_subdomain)
    if name and not names.dns_subdomain(name) and name.count(".") < 2:
        detail = "should be a domain with at least three segments separated by dots"
        out.append(causes.invalid(path, name, detail))


def _webhook(out: Out, path: str, hook: JSON) -> None:
    for index, rule in enumerate(items(hook, "rules")):
        operations_rule(out, f"{path}.rules[{index}]", rule)
    for field, supported in (
        ("failurePolicy", _POLICIES),
        ("matchPolicy", enums.MATCH_POLICIES.enum),
    ):
        if (value := hook.get(field)) is not None:
            one_of(out, f"{path}.{field}", value, supported)
    effects, allowed = hook.get("sideEffects"), ("None", "NoneOnDryRun")
    if effects is None:
        detail = f"must specify one of {', '.join(allowed)}"
        out.append(causes.required(f"{path}.sideEffects", detail))
    elif effects not in allowed:
        out.append(causes.unsupported(f"{path}.sideEffects", effects, allowed))
    seconds = hook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= 30:
        detail = "the timeout value must be between 1 and 30 seconds"
        out.append(causes.invalid(f"{path}.timeoutSeconds", seconds, detail))
    for field in ("namespaceSelector", "objectSelector"):
        labels.selector(out, f"{path}.{field}", hook.get(field))
    client_config(out, f"{path}.clientConfig", part(hook, "clientConfig"))
    match_conditions(out, f"{path}.matchConditions", items(hook, "matchConditions"))
    versions = items(hook, "admissionReviewVersions")
    at = f"{path}.admissionReviewVersions"
    if not versions:
        out.append(causes.required(at, f"must specify one of {', '.join(_VERSIONS)}"))
        return
    seen: set[str] = set()
    for index, version in enumerate(versions):
        if version in seen:
            out.append(causes.invalid(f"{at}[{index}]", version, "duplicate version"))
        else:
            format_check(out, f"{at}[{index}]", version, names.dns_1035_label)
        seen.add(version)
    if not any(version in _VERSIONS for version in versions):
        detail = f"must include at least one of {', '.join(_VERSIONS)}"
        out.append(causes.invalid(at, versions, detail))


def client_config(out: Out, path: str, config: JSON) -> None:
    """Check the URL or Service of a webhook."""
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        out.append(causes.required(path, "exactly one of url or service is required"))
    elif url is not None:
        _url(out, f"{path}.url", url)
    elif service is not None:
        _service(out, f"{path}.service", service)


def _service(out: Out, path: str, service: JSON) -> None:
    # Kubernetes takes the one for the other: without a name the namespace is missed.
    for field, blamed in (("namespace", "name"), ("name", "namespace")):
        if not service.get(field):
            out.append(causes.required(f"{path}.{blamed}"))
    port = service.get("port", 443)
    for finding in names.port_number(port):
        out.append(causes.invalid(f"{path}.port", port, f"port is not valid: {finding}"))
    if file := service.get("path"):
        _url_path(out, f"{path}.path", file)


def _url_path(out: Out, path: str, file: str) -> None:
    if file == "/":
        return
    if file == "//":
        out.append(causes.invalid(path, file, "segment[0] may not be empty"))
        return
    if not file.startswith("/"):
        out.append(causes.invalid(path, file, "must start with a '/'"))
    for index, segment in enumerate(file[1:].removesuffix("/").split("/")):
        if not segment:
            out.append(causes.invalid(path, file, f"segment[{index}] may not be empty"))
            continue
        for finding in names.dns_subdomain(segment):
            out.append(causes.invalid(path, file, f"segment[{index}]: {finding}"))


def _url(out: Out, path: str, url: str) -> None:
    form = "desired format: https://host[/path]"
    try:
        found = urlsplit(url)
    except ValueError as error:
        out.append(causes.required(path, f"url must be a valid URL: {error}; {form}"))
        return
    if found.scheme != "https":
        detail = f"'https' is the only allowed URL scheme; {form}"
        out.append(causes.invalid(path, found.scheme, detail))
    user, _, host = found.netloc.rpartition("@")
    if not host:
        out.append(causes.invalid(path, host, f"host must be specified; {form}"))
    if user:
        out.append(causes.invalid(path, user, "user information is not permitted in the URL"))
    for part_of_url, what in ((found.fragment, "fragments"), (found.query, "query parameters")):
        if part_of_url:
            out.append(causes.invalid(path, part_of_url, f"{what} are not permitted in the URL"))


def operations_rule(out: Out, path: str, rule: JSON) -> None:
    """Check operations and resources of a webhook or policy."""
    operations = items(rule, "operations")
    if not operations:
        out.append(causes.required(f"{path}.operations"))
    elif len(operations) > 1 and "*" in operations:
        detail = f"{_STAR}operations"
        out.append(causes.invalid(f"{path}.operations", operations, detail))
    for index, operation in enumerate(operations):
        one_of(out, f"{path}.operations[{index}]", operation, _OPERATIONS)
    for field, words in (("apiGroups", "API groups"), ("apiVersions", "API versions")):
        found = items(rule, field)
        if not found:
            out.append(causes.required(f"{path}.{field}"))
        elif len(found) > 1 and "*" in found:
            out.append(causes.invalid(f"{path}.{field}", found, _STAR + words))
    for index, version in enumerate(items(rule, "apiVersions")):
        if not version:
            out.append(causes.required(f"{path}.apiVersions[{index}]"))
    _resources(out, f"{path}.resources", items(rule, "resources"))
    if (scope := rule.get("scope")) is not None:
        one_of(out, f"{path}.scope", scope, enums.SCOPES.enum)


def _resources(out: Out, path: str, found: list[str]) -> None:
    """Check resources, with or without subresources; * stands for all."""
    if not found:
        out.append(causes.required(path))
    all_of: set[str] = set()  # resources with all subresources
    of_all: set[str] = set()  # subresources of all resources
    is_plain = False  # the last one without a subresource is not *
    for index, name in enumerate(found):
        at = f"{path}[{index}]"
        if not name:
            out.append(causes.required(at))
            continue
        resource, slash, subresource = name.partition("/")
        if not slash:
            is_plain = name != "*"
            continue
        for blamed, is_known in (
            (f"{resource}/*", resource in all_of),
            (f"*/{subresource}", subresource in of_all),
        ):
            if is_known:
                detail = f"if '{blamed}' is present, must not specify {name}"
                out.append(causes.invalid(at, name, detail))
        if subresource == "*":
            all_of.add(resource)
        if resource == "*":
            of_all.add(subresource)
    if len(found) > 1 and "*/*" in found:
        detail = "if '*/*' is present, must not specify other resources"
        out.append(causes.invalid(path, found, detail))
    if "*" in found and is_plain:
        detail = f"{_STAR}resources without subresources"
        out.append(causes.invalid(path, found, detail))


def api_service(thing: JSON) -> Out:
    """Check an APIService."""
    out = Out()
    spec, meta = part(thing, "spec"), part(thing, "metadata")
    group, version = spec.get("group", ""), spec.get("version", "")
    wanted = f"{version}.{group}"
    for field in ("generateName", "name"):
        given = meta.get(field, "")
        if given and given != wanted and not names.path_segment(given):
            detail = f'must be `spec.version+"."+spec.group`: {causes.quoted(wanted)}'
            out.append(causes.invalid(f"metadata.{field}", given, detail))
    if not group and version != "v1":
        detail = "only v1 may have an empty group and it better be legacy kube"
        out.append(causes.required("spec.group", detail))
    if group:
        format_check(out, "spec.group", group, names.dns_subdomain)
    format_check(out, "spec.version", version, names.dns_1035_label)
    for field, limit in (("groupPriorityMinimum", 20000), ("versionPriority", 1000)):
        if not 0 < (value := spec.get(field, 0)) <= limit:
            detail = f"must be positive and less than {limit}"
            out.append(causes.invalid(f"spec.{field}", value, detail))
    if spec.get("service") is None:
        _local_service(out, spec)
    else:
        _remote_service(out, spec)
    return out


def _local_service(out: Out, spec: JSON) -> None:
    if bundle := spec.get("caBundle"):
        shown = f"{decoded_size(bundle)} bytes"
        detail = "local APIServices may not have a caBundle"
        out.append(causes.invalid("spec.caBundle", shown, detail))
    if insecure := spec.get("insecureSkipTLSVerify"):
        detail = "local APIServices may not have insecureSkipTLSVerify"
        out.append(causes.invalid("spec.insecureSkipTLSVerify", insecure, detail))


def _remote_service(out: Out, spec: JSON) -> None:
    service = spec["service"]
    required(out, service, "spec.service", "namespace", "name")
    port = service.get("port") or 0
    for finding in names.port_number(port):
        detail = f"port is not valid: {finding}"
        out.append(causes.invalid("spec.service.port", port, detail))
    if spec.get("insecureSkipTLSVerify") and spec.get("caBundle"):
        detail = "may not be true if caBundle is present"
        out.append(causes.invalid("spec.insecureSkipTLSVerify", True, detail))


def api_service_status(new: JSON, _old: JSON) -> Out:
    """Check the status of an APIService."""
    out = Out()
    for index, condition in enumerate(items(part(new, "status"), "conditions")):
        status = condition.get("status", "")
        if status not in _STATUSES:
            path = f"status.conditions[{index}].status"
            out.append(causes.unsupported(path, status, _STATUSES))
    return out
