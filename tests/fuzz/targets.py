"""All fuzz targets, in the order they run."""

from fuzz import archives, documents, network, wire

TARGETS = (*documents.TARGETS, *network.TARGETS, *archives.TARGETS, *wire.TARGETS)
