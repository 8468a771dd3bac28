"""What is approved of the certificates that nodes ask for: pure decisions about parsed requests.

A machine that joins gets the certificate of a node's name if the name is free or bound to its key already. A node gets
a serving certificate for its own name and addresses only, and a client certificate for its network parts.
"""

from collections.abc import Callable, Collection, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal

from msgspec import Struct

from kubelite.api.kinds.core.nodes import Node
from kubelite.api.machinery.join_secrets import NAMESPACE, Binding, identity_name
from kubelite.api.machinery.names import dns_subdomain
from kubelite.control.options import ServerIdentity, SigningRequest
from kubelite.limits import CERTIFICATE_NAMES

Address = IPv4Address | IPv6Address

CLIENT = "kubernetes.io/kube-apiserver-client"
NODE_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
NODE_SERVING = "kubernetes.io/kubelet-serving"
NODE_PREFIX = "system:node:"
NODES_GROUP = "system:nodes"
NETWORK_USER = "system:kube-proxy"
ADDRESS_TYPES = ("InternalIP", "ExternalIP")
NODE_NAME_MAX = 52  # the common name has 64 characters at most, by X.509
SHOWN = 80  # characters of a text of the requester in a message
BASIC = frozenset({"digital signature", "key encipherment"})
LOCAL_NAMES = ("localhost", "localhost.localdomain")


class Verdict(Struct, frozen=True):
    """What to do with a request: approve it, deny it, or leave it to an administrator or a later look."""

    outcome: Literal["approve", "deny", "leave"]
    message: str = ""


LEAVE = Verdict("leave")


def has_usages(usages: Sequence[str], purpose: str) -> bool:
    """Return whether the usages are the purpose, digital signature and at most key encipherment."""
    given = set(usages)
    return {purpose, "digital signature"} <= given <= {purpose, *BASIC}


def is_node_client(asked: SigningRequest, usages: Sequence[str]) -> bool:
    """Return whether a request has the form of a node's client certificate."""
    names = asked.wanted
    return (
        list(names.organizations) == [NODES_GROUP]
        and names.common_name.startswith(NODE_PREFIX)
        and not (names.dns_names or names.addresses or asked.emails or asked.uris)
        and has_usages(usages, "client auth")
    )


def is_network_client(asked: SigningRequest, usages: Sequence[str]) -> bool:
    """Return whether a request has the form of the client certificate of a node's network parts."""
    names = asked.wanted
    return (
        names.common_name == NETWORK_USER
        and not names.organizations
        and not (names.dns_names or names.addresses or asked.emails or asked.uris)
        and has_usages(usages, "client auth")
    )


def node_of(user: str, groups: Collection[str]) -> str:
    """Return the node that a requester is; "" if it is none."""
    is_node = NODES_GROUP in groups and user.startswith(NODE_PREFIX)
    return user.removeprefix(NODE_PREFIX) if is_node else ""


def unusable_name(name: str, server: ServerIdentity) -> str:
    """Return why no other machine may have a node's name; "" if it may."""
    if len(name) > NODE_NAME_MAX:
        return f"a node's name must be no more than {NODE_NAME_MAX} characters"
    if findings := dns_subdomain(name):
        return f"{name!r} is no name for a node: {findings[0]}"
    if is_of_server(name, server):
        return (
            f"the name \"{name}\" is one of the server's or of the cluster's; "
            "give this node another one with --node-name"
        )
    return ""


def is_of_server(name: str, server: ServerIdentity) -> bool:
    """Return whether a DNS name, in lower case, leads to the server or to a Service of the cluster.

    A certificate for such a name would let a node pass for them.
    """
    own = {known.lower() for known in (server.node_name, *server.names, *LOCAL_NAMES)}
    if name in own or any(_covers(known, name) for known in own):
        return True
    if name.endswith((".localhost", ".svc", f".{server.domain}")) or name == server.domain:
        return True
    parsed = parsed_address(name)
    return parsed is not None and bool(forbidden_address(parsed, server))


def _covers(pattern: str, name: str) -> bool:
    """Return whether a wildcard such as ``*.example.com`` covers a name."""
    return pattern.startswith("*.") and name.partition(".")[2] == pattern[2:]


def name_denial(
    name: str, key_hash: str, binding: Binding | None, node: Node | None, *, is_own: bool
) -> str:
    """Return why a machine with this key may not have a node's name; "" if it may.

    `is_own`: the requester has proved to be that node, and renews its certificate.
    """
    if binding is not None and binding.key_hash == key_hash:
        return ""
    if binding is not None and binding.released_at is None:
        if is_own:
            return f'the node "{name}" must renew its certificate with the key it has joined with'
        return _taken(name, node)
    if is_own or node is None:
        return ""
    return (
        f'a node "{name}" exists, and it is not known to be this machine; '
        f"if it is no longer in use, run: kubectl delete node {name}"
    )


def _taken(name: str, node: Node | None) -> str:
    if node is not None:
        return (
            f'the name "{name}" belongs to another machine; if that machine is gone or was installed anew, '
            f"run: kubectl delete node {name}"
        )
    return (
        f'another machine is joining as "{name}"; the name is free again an hour after that began, '
        f"or with: kubectl delete secret --namespace {NAMESPACE} {identity_name(name)}"
    )


def serving_verdict(
    asked: SigningRequest,
    usages: Sequence[str],
    node_name: str,
    node: Node | None,
    server: ServerIdentity,
    holder_of: Callable[[Address], str],
) -> Verdict:
    """Decide on a serving certificate that a node asks for.

    `holder_of` returns the name of another node with an address, or "". A request for addresses that the Node does
    not report is left: it may report them later.
    """
    names = asked.wanted
    if (
        list(names.organizations) != [NODES_GROUP]
        or names.common_name != NODE_PREFIX + node_name
        or asked.emails
        or asked.uris
        or not has_usages(usages, "server auth")
    ):
        return LEAVE
    if problem := unusable_name(node_name, server):
        return Verdict("deny", problem)
    if len(names.dns_names) + len(names.addresses) > CERTIFICATE_NAMES.value:
        CERTIFICATE_NAMES.reached()
        return Verdict("deny", f"more than {CERTIFICATE_NAMES.value} names and addresses")
    if foreign := [name for name in names.dns_names if name != node_name]:
        return Verdict("deny", f"the DNS name {foreign[0][:SHOWN]!r} is not the node's name")
    if not names.dns_names:
        return Verdict("deny", f'the DNS name "{node_name}" is missing')
    reported = reported_addresses(node)
    is_reported = True
    for text in map(str, names.addresses):
        address = parsed_address(text)
        if address is None:
            return Verdict("deny", f"{text} is no address")
        if problem := forbidden_address(address, server):
            return Verdict("deny", f"the address {text} {problem}")
        if holder := holder_of(address):
            return Verdict("deny", f'the address {text} is one of the node "{holder}"')
        is_reported = is_reported and address in reported
    return Verdict("approve") if is_reported else LEAVE


def reported_addresses(node: Node | None) -> frozenset[Address]:
    """Return the addresses in a Node's status."""
    if node is None:
        return frozenset()
    listed = (
        parsed_address(one.address) for one in node.status.addresses if one.type in ADDRESS_TYPES
    )
    return frozenset(address for address in listed if address is not None)


def parsed_address(text: str) -> Address | None:
    """Return an address, an IPv4 address in IPv6 form as the former; None if the text is none."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def forbidden_address(address: Address, server: ServerIdentity) -> str:
    """Return why no node may prove to have an address; "" if one may."""
    if (
        address.is_loopback
        or address.is_unspecified
        or address.is_multicast
        or address.is_link_local
    ):
        return "is not the address of a machine"
    if address in {parsed_address(own) for own in server.addresses}:
        return "is one of the server's"
    if any(address.version == net.version and address in net for net in server.networks):
        return "is one of pods and Services"
    return ""
