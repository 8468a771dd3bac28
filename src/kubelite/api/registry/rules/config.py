"""Rules of ConfigMaps, Secrets and ServiceAccounts."""

import base64
import binascii

import msgspec

from kubelite.api.machinery import causes, names
from kubelite.api.registry.rules.values import (
    JSON,
    Out,
    decoded_size,
    format_check,
    immutable,
    part,
)

SIZE_LIMIT_BYTES = 1024 * 1024
_SET = "field is immutable when `immutable` is set"
_ACCOUNT = "kubernetes.io/service-account.name"
_REQUIRED_KEYS = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
_JSON_KEYS = (".dockercfg", ".dockerconfigjson")


def config_map(thing: JSON) -> Out:
    """Check a ConfigMap."""
    out = Out()
    data, binary = part(thing, "data"), part(thing, "binaryData")
    size = 0
    for key, value in data.items():
        format_check(out, f"data[{key}]", key, names.config_key)
        if key in binary:
            detail = "duplicate of key present in binaryData"
            out.append(causes.invalid(f"data[{key}]", key, detail))
        size += len(value) if value.isascii() else len(value.encode())
    for key, value in binary.items():
        format_check(out, f"binaryData[{key}]", key, names.config_key)
        size += decoded_size(value)
    if size > SIZE_LIMIT_BYTES:
        out.append(causes.too_long("[]", SIZE_LIMIT_BYTES))
    return out


def _frozen(out: Out, new: JSON, old: JSON, *fields: str) -> None:
    if not old.get("immutable"):
        return
    if not new.get("immutable"):
        out.append(causes.forbidden("immutable", _SET))
    for field in fields:
        if part(new, field) != part(old, field):
            out.append(causes.forbidden(field, _SET))


def config_map_update(new: JSON, old: JSON) -> Out:
    """Check a change of a ConfigMap."""
    out = Out()
    _frozen(out, new, old, "data", "binaryData")
    return out + config_map(new)


def secret(thing: JSON) -> Out:
    """Check a Secret."""
    out = Out()
    data, kind = part(thing, "data"), thing.get("type", "")
    size = 0
    for key, value in data.items():
        format_check(out, f"data[{key}]", key, names.config_key)
        size += decoded_size(value or "")
    if size > SIZE_LIMIT_BYTES:
        out.append(causes.too_long("data", SIZE_LIMIT_BYTES))
    if kind == "kubernetes.io/service-account-token":
        if not part(thing, "metadata", "annotations").get(_ACCOUNT):
            out.append(causes.required(f"metadata.annotations[{_ACCOUNT}]"))
    elif kind == "kubernetes.io/basic-auth" and not data.keys() & {"username", "password"}:
        out.append(causes.required("data[username]"))
        out.append(causes.required("data[password]"))
    for key in _REQUIRED_KEYS.get(kind, ()):
        if key not in data or (key == "ssh-privatekey" and not data[key]):
            out.append(causes.required(f"data[{key}]"))
        elif key in _JSON_KEYS and (wrong := _json_error(data[key])):
            out.append(causes.invalid(f"data[{key}]", "<secret contents redacted>", wrong))
    return out


def _json_error(text: str) -> str:
    try:
        value = msgspec.json.decode(base64.b64decode(text))
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "invalid character in JSON"
    if not isinstance(value, dict):
        return "json: cannot unmarshal into Go value of type map[string]interface {}"
    return ""


def secret_update(new: JSON, old: JSON) -> Out:
    """Check a change of a Secret."""
    out = Out()
    immutable(out, "type", new.get("type"), old.get("type"))
    _frozen(out, new, old, "data")
    return out + secret(new)


def service_account(_thing: JSON) -> Out:
    """Return no causes: a ServiceAccount has no rules beyond its metadata."""
    return Out()
