"""Nodes: a kubelet registers with all it knows in one request."""

from kubelite.api.registry.strategy import Strategy


class NodeStrategy(Strategy):
    """How nodes are written; theirs is the only kind whose status a creation sets."""

    created_with_status = True
