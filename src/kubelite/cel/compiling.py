"""What those that make closures of special shapes need of the compiler."""

from typing import Protocol

from kubelite.cel.ast import Node
from kubelite.cel.frame import Code
from kubelite.cel.planner import Planner


class Compiler(Protocol):
    """Compiles parts of a tree."""

    planner: Planner

    def compile(self, node: Node, *, costs_root: bool = True) -> Code:
        """Return the closure of a node."""
        ...

    def is_constant(self, node: Node) -> bool:
        """Return whether a node needs no evaluation."""
        ...
