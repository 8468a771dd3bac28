"""Nodes: a kubelet registers its Node and its status in one create."""

from kubelite.api.registry.strategy import Strategy


class NodeStrategy(Strategy):
    """The write hooks of Nodes, the only kind whose create keeps the status."""

    created_with_status = True
