"""Kubernetes semantics over the store."""
