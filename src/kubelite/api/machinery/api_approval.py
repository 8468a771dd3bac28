"""Whether the definition of a custom resource in a group of Kubernetes itself says that its API was approved.

Source: the annotation `api-approved.kubernetes.io` of the Kubernetes enhancement 1111.
"""

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from kubelite.api.machinery.causes import cut, quoted

APPROVED_ANNOTATION = "api-approved.kubernetes.io"
Approval = Literal["approved", "bypassed", "invalid", "missing"]

_SEE = "see https://github.com/kubernetes/enhancements/pull/1111"
_MUST = f"protected groups must have approval annotation {quoted(APPROVED_ANNOTATION)}"


def is_protected(group: str) -> bool:
    """Return whether a group belongs to the Kubernetes project."""
    return f".{group}".endswith((".k8s.io", ".kubernetes.io"))


def approval(annotations: Mapping[str, Any]) -> tuple[Approval, str]:
    """Return what the annotation says, and the reason in Kubernetes' words."""
    text = annotations.get(APPROVED_ANNOTATION) or ""
    if not text:
        return "missing", f"{_MUST}, {_SEE}"
    if text.startswith("unapproved"):
        return "bypassed", f"not approved: {quoted(cut(text))}"
    if _is_url(text):
        return "approved", f"approved in {cut(text)}"
    either = 'with either a URL or a reason starting with "unapproved"'
    return "invalid", f"{_MUST} {either}, {_SEE}"


def _is_url(text: str) -> bool:
    if any(letter <= " " or letter == "\x7f" for letter in text):
        return False
    try:
        found = urlsplit(text)
    except ValueError:
        return False
    return bool(found.scheme and found.netloc)
