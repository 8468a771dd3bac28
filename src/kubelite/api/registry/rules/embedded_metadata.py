"""Rules of the metadata of resources that are embedded in custom resources."""

from kubelite.api.machinery import names
from kubelite.api.registry.rules.metadata import metadata
from kubelite.api.registry.rules.values import JSON, Out, part


def embedded_metadata(thing: JSON) -> Out:
    """Check the metadata of an embedded resource, whose kind need not be known here."""
    out = Out()
    namespaced = bool(part(thing, "metadata").get("namespace"))
    metadata(out, thing, names.path_segment, namespaced=namespaced)
    return out
