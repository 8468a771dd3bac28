"""Authorizes requests: system:masters first, then the Node authorizer, then RBAC."""

from kubelite.api.auth.caller import SYSTEM_MASTERS, Allowed, Attributes, Caller
from kubelite.api.auth.nodes import NodeAuthorizer
from kubelite.api.auth.rbac import RBAC, Decision
from kubelite.api.errors import Forbidden

ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


class UnionAuthorizer:
    """Asks each authorizer in turn; the first that allows decides, and none can deny what another allows."""

    def __init__(self, rbac: RBAC, nodes: NodeAuthorizer | None = None) -> None:
        self._rbac = rbac
        self._nodes = nodes

    def decide(self, caller: Caller, attributes: Attributes) -> Decision:
        """Return the decision with its reason."""
        if SYSTEM_MASTERS in caller.groups:
            return Decision(allowed=True)
        reasons = []
        if self._nodes is not None:
            decision = self._nodes.decide(caller, attributes)
            if decision.allowed:
                return decision
            reasons.append(decision.reason)
        decision = self._rbac.decide(caller, attributes)
        if decision.allowed:
            return decision
        reasons.append(decision.reason)
        return Decision(allowed=False, reason="\n".join(reason for reason in reasons if reason))

    def authorize(self, caller: Caller, attributes: Attributes) -> Allowed:
        """Return the evidence; raises Forbidden, worded as Kubernetes words it."""
        decision = self.decide(caller, attributes)
        if decision.allowed:
            return Allowed(caller, attributes, decision.reason)
        raise forbidden(caller, attributes, decision.reason)


def forbidden(caller: Caller, attributes: Attributes, reason: str = "") -> Forbidden:
    """Return the Forbidden error for a denied request, worded as Kubernetes words it."""
    text = f'User "{caller.user}" cannot {attributes.verb} '
    if not attributes.resource:
        message = _escaped(f'{text}path "{attributes.path}"')
        return Forbidden(f"forbidden: {message}{_colon(reason)}")
    resource = attributes.resource
    if attributes.subresource:
        resource += f"/{attributes.subresource}"
    place = (
        f'in the namespace "{attributes.namespace}"'
        if attributes.namespace
        else "at the cluster scope"
    )
    text += f'resource "{resource}" in API group "{attributes.group}" {place}'
    return refused(attributes, _escaped(text) + _colon(reason))


def refused(attributes: Attributes, message: str) -> Forbidden:
    """Return a Forbidden error with `message` about the object that a request names."""
    group = attributes.group
    subject = f"{attributes.resource}.{group}" if group else attributes.resource
    if attributes.name:
        subject += f' "{attributes.name}"'
    return Forbidden(
        f"{subject} is forbidden: {message}",
        group=group,
        kind=attributes.resource,
        name=attributes.name,
    )


def _escaped(text: str) -> str:
    return text.translate(ESCAPES)


def _colon(reason: str) -> str:
    return f": {reason}" if reason else ""
