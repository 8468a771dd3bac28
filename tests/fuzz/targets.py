"""All fuzz targets, in the order they run."""

from fuzz import archives, documents, expressions, grpc, images, ingress, network, wire

TARGETS = (
    *documents.TARGETS,
    *expressions.TARGETS,
    *network.TARGETS,
    *archives.TARGETS,
    *images.TARGETS,
    *wire.TARGETS,
    *grpc.TARGETS,
    *ingress.TARGETS,
)
