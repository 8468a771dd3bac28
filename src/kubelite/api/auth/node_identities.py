"""Voids the certificates of machines whose node's name was given back, or has gone to another machine.

A node's name is bound to the public key of its machine (see `machinery.join_secrets`). A certificate for the name and
another key counts for nothing, nor does one for a key that was released, so deleting a Node ends its machine's access.
The certificate of a node's network parts names its machine. Nodes without a binding, whose certificates an
administrator approved, are not concerned.
"""

from kubelite.api.auth.lookup import Lookup
from kubelite.api.kinds.core.config import Secret
from kubelite.api.machinery.join_secrets import NAMESPACE, Machine, binding_of, identity_name


class NodeIdentities:
    """Compares the certificates of nodes with the bindings of their names."""

    def __init__(self, lookup: Lookup, own: str = "") -> None:
        """`own` is the node that runs in this process, which needs no certificate; "" if there is none."""
        self._lookup = lookup
        self._own = own

    def refusal(self, machine: Machine) -> str:
        """Return why a certificate that belongs to a machine counts no longer; "" if it counts."""
        node = machine.node
        if node == self._own:
            return f'the node "{node}" is the server\'s own'
        secret = self._lookup.get(Secret, identity_name(node), NAMESPACE)
        binding = None if secret is None else binding_of(secret)
        if binding is None:
            return ""
        if binding.key_hash != machine.key_hash:
            return f'the node "{node}" is another machine now'
        if binding.released_at is not None:
            return f'the node "{node}" was deleted; to come back, its machine has to join again with a token'
        return ""
