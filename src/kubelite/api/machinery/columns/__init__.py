"""The table columns of each kind: what `kubectl get` prints, `-o wide` included."""

from kubelite.api.machinery.columns import cluster, extensions, networking, pods, workloads
from kubelite.api.machinery.columns.custom import CREATED_AT, custom_layout
from kubelite.api.machinery.columns.layout import Column, Layout

LAYOUTS: dict[tuple[str, str], Layout] = {
    **pods.LAYOUTS,
    **workloads.LAYOUTS,
    **networking.LAYOUTS,
    **cluster.LAYOUTS,
    **extensions.LAYOUTS,
}


def layout_of(group: str, kind: str) -> Layout:
    """Return a built-in kind's layout: its own, or name and creation date."""
    return LAYOUTS.get((group, kind), CREATED_AT)


__all__ = ["CREATED_AT", "LAYOUTS", "Column", "Layout", "custom_layout", "layout_of"]
