"""Ordered bytes with revisions; knows nothing of Kubernetes."""
