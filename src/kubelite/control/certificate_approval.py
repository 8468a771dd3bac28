"""Approves the certificates of nodes: of machines that join, for renewal, for serving, and for a node's network parts.

A machine that joins is bound to its name before it is approved: creating the Secret of the binding is the atomic step
by which exactly one of several machines gets a free name. A request that must not be approved is denied with a message
for whoever joins the machine; what has another form than a node's is left to an administrator.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from kubelite.api.errors import NotFound
from kubelite.api.kinds.authorization import (
    ResourceAttributes,
    SubjectAccessReview,
    SubjectAccessReviewSpec,
)
from kubelite.api.kinds.certificates import (
    CertificateSigningRequest,
    CertificateSigningRequestCondition,
)
from kubelite.api.kinds.core.config import Secret
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.machinery.join_secrets import (
    NAMESPACE,
    TOKEN_PREFIX,
    TOKEN_USER,
    Binding,
    TokenUse,
    binding_of,
    identity_name,
    identity_secret,
    marked_used,
    use_of,
)
from kubelite.api.machinery.times import format_time
from kubelite.control.certificate_decisions import (
    CLIENT,
    LEAVE,
    NODE_CLIENT,
    NODE_PREFIX,
    NODE_SERVING,
    Address,
    Verdict,
    is_network_client,
    is_node_client,
    name_denial,
    node_of,
    reported_addresses,
    serving_verdict,
    unusable_name,
)
from kubelite.control.certificates import is_open, read
from kubelite.control.node_identities import IDENTITIES
from kubelite.control.options import SigningRequest
from kubelite.control.runtime import Context, Key, Watch
from kubelite.limits import JOINING

SIGNERS = (NODE_CLIENT, NODE_SERVING, CLIENT)
LATER = Verdict("leave", "too many machines are joining")
LATER_SECONDS = 30.0
SELF_APPROVED = "Auto approving self kubelet client certificate after SubjectAccessReview."
APPROVED = "Auto approving kubelet client certificate after SubjectAccessReview."


class AddressHolders:
    """Which nodes report an address, followed in their mirror."""

    def __init__(self) -> None:
        self._nodes: dict[Address, set[str]] = {}

    def changed(self, before: Node | None, after: Node | None) -> None:
        """Follow a change of a Node."""
        old, new = reported_addresses(before), reported_addresses(after)
        for address in old - new:
            assert before is not None
            nodes = self._nodes[address]
            nodes.discard(before.metadata.name)
            if not nodes:
                del self._nodes[address]
        for address in new - old:
            assert after is not None
            self._nodes.setdefault(address, set()).add(after.metadata.name)

    def other(self, address: Address, node: str) -> str:
        """Return another node that reports an address; "" if there is none."""
        return min((name for name in self._nodes.get(address, ()) if name != node), default="")


class CertificateApprover:
    """Decides on requests one after the other, so that the order of two for one name is clear."""

    name = "csrapproving"
    identity = "certificate-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._requests = context.mirror(CertificateSigningRequest)
        self._nodes = context.mirror(Node)
        self._holders = AddressHolders()
        self._waiting: dict[str, set[str]] = {}  # by node: its requests that a new address may help
        self._unregistered: set[str] = set()  # names of bindings without a Node
        context.follow(Node, self._holders.changed)
        identities = context.mirror(Secret, field_selector=IDENTITIES)
        context.ends.append(identities.subscribe(self._binding_changed))

    def _binding_changed(self, before: Secret | None, after: Secret | None) -> None:
        binding = None if after is None else binding_of(after)
        if binding is not None and not (binding.node_uid or binding.released_at):
            assert after is not None
            self._unregistered.add(after.metadata.name)
        elif (secret := after or before) is not None:
            self._unregistered.discard(secret.metadata.name)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch requests for the signers of nodes, and the nodes with requests that wait for an address."""
        return (
            Watch(CertificateSigningRequest, where=_is_of_node),
            Watch(Node, self._waiting_of),
        )

    def _waiting_of(self, node: Node) -> Iterator[Key]:
        yield from (Key("", name) for name in self._waiting.get(node.metadata.name, ()))

    async def reconcile(self, key: Key) -> float | None:
        """Approve or deny a request, or leave it to an administrator."""
        request = self._requests.get(key.name)
        if request is None or not is_open(request):
            self._forget(key.name)
            return None
        asked = read(self._context, request)
        if asked is None:
            return None
        match request.spec.signerName:
            case "kubernetes.io/kube-apiserver-client-kubelet":
                verdict = await self._node_client(request, asked)
            case "kubernetes.io/kubelet-serving":
                verdict = self._serving(request, asked)
            case _:
                verdict = _network_client(request, asked)
        if verdict.outcome != "leave":
            await self._conclude(request, verdict)
        return LATER_SECONDS if verdict is LATER else None

    async def _node_client(
        self, request: CertificateSigningRequest, asked: SigningRequest
    ) -> Verdict:
        if not is_node_client(asked, request.spec.usages):
            return LEAVE
        common_name = asked.wanted.common_name
        node = common_name.removeprefix(NODE_PREFIX)
        if common_name == request.spec.username and await self._may(request, "selfnodeclient"):
            present = await self._secret(identity_name(node))
            denial = self._denial(node, asked.key_hash, present, is_own=True)
            return Verdict("deny", denial) if denial else Verdict("approve", SELF_APPROVED)
        if not await self._may(request, "nodeclient"):
            if not request.spec.username.startswith(TOKEN_USER):
                return LEAVE
            return Verdict(
                "deny", "the token is not for agents; make one with: kubelite token create"
            )
        return await self._joining(request, node, asked.key_hash)

    async def _joining(
        self, request: CertificateSigningRequest, node: str, key_hash: str
    ) -> Verdict:
        """Bind a machine to a name. A Conflict with another machine is retried, and then decided by its binding."""
        token = await self._token(request)
        if token is None and request.spec.username.startswith(TOKEN_USER):
            return Verdict("deny", "the token has been deleted or has expired")
        use = TokenUse() if token is None else use_of(token)
        if refusal := use.refusal(request.metadata.uid, node, key_hash):
            return Verdict("deny", refusal)
        present = await self._secret(identity_name(node))
        if denial := self._denial(node, key_hash, present, is_own=False):
            return Verdict("deny", denial)
        if present is None and len(self._unregistered) >= JOINING.value:
            JOINING.reached()
            return LATER
        if token is not None and use.once and not use.request:
            marks = TokenUse(once=True, request=request.metadata.uid, node=node, key_hash=key_hash)
            await self._client.update(marked_used(token, marks, self._context.clock.now()))
        await self._bind(node, key_hash, present)
        return Verdict("approve", APPROVED)

    def _denial(self, node: str, key_hash: str, present: Secret | None, *, is_own: bool) -> str:
        if problem := unusable_name(node, self._context.options.server()):
            return problem
        binding = None if present is None else binding_of(present)
        if present is not None and binding is None:
            return f"the Secret {NAMESPACE}/{identity_name(node)} is not one of kubelite's"
        return name_denial(node, key_hash, binding, self._nodes.get(node), is_own=is_own)

    async def _bind(self, node: str, key_hash: str, present: Secret | None) -> None:
        """Record the binding. Raises AlreadyExists or Conflict if another machine was bound meanwhile."""
        binding = Binding(key_hash, self._context.clock.now())
        if present is None:
            await self._client.create(identity_secret(node, binding))
            return
        before = binding_of(present)
        is_bound = before is not None and before.key_hash == key_hash and not before.released_at
        if before is None or not is_bound or not before.node_uid:
            await self._client.update(identity_secret(node, binding, present))

    async def _token(self, request: CertificateSigningRequest) -> Secret | None:
        """Return the bootstrap token that a requester used; None if the requester has none."""
        if not request.spec.username.startswith(TOKEN_USER):
            return None
        return await self._secret(TOKEN_PREFIX + request.spec.username.removeprefix(TOKEN_USER))

    async def _secret(self, name: str) -> Secret | None:
        try:
            return await self._client.get(Secret, name, NAMESPACE)
        except NotFound:
            return None

    def _serving(self, request: CertificateSigningRequest, asked: SigningRequest) -> Verdict:
        node = node_of(request.spec.username, request.spec.groups)
        if not node:
            return LEAVE
        verdict = serving_verdict(
            asked,
            request.spec.usages,
            node,
            self._nodes.get(node),
            self._context.options.server(),
            lambda address: self._holders.other(address, node),
        )
        if verdict == LEAVE:
            self._waiting.setdefault(node, set()).add(request.metadata.name)
        return verdict

    def _forget(self, request: str) -> None:
        for node in [node for node, names in self._waiting.items() if request in names]:
            self._waiting[node].discard(request)
            if not self._waiting[node]:
                del self._waiting[node]

    async def _conclude(self, request: CertificateSigningRequest, verdict: Verdict) -> None:
        is_approved = verdict.outcome == "approve"
        date = format_time(self._context.clock.now())
        decision = CertificateSigningRequestCondition(
            type="Approved" if is_approved else "Denied",
            status="True",
            reason="AutoApproved" if is_approved else "AutoDenied",
            message=verdict.message,
            lastUpdateTime=date,
            lastTransitionTime=date,
        )
        status = replace(request.status, conditions=[*request.status.conditions, decision])
        await self._client.update(replace(request, status=status), "approval")

    async def _may(self, request: CertificateSigningRequest, subresource: str) -> bool:
        spec = request.spec
        review = await self._client.create(
            SubjectAccessReview(
                spec=SubjectAccessReviewSpec(
                    user=spec.username,
                    uid=spec.uid,
                    groups=spec.groups,
                    extra=spec.extra,
                    resourceAttributes=ResourceAttributes(
                        group="certificates.k8s.io",
                        resource="certificatesigningrequests",
                        verb="create",
                        subresource=subresource,
                        version="*",
                    ),
                )
            )
        )
        return review.status.allowed


def _network_client(request: CertificateSigningRequest, asked: SigningRequest) -> Verdict:
    node = node_of(request.spec.username, request.spec.groups)
    if not node or not is_network_client(asked, request.spec.usages):
        return LEAVE
    return Verdict("approve", f'Auto approving the network parts of the node "{node}".')


def _is_of_node(
    before: CertificateSigningRequest | None, after: CertificateSigningRequest | None
) -> bool:
    request = after or before
    return request is not None and request.spec.signerName in SIGNERS
