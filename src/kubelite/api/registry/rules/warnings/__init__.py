"""Warnings about a valid object: fields that are deprecated, ignored or probably a mistake.

A rule yields texts in Kubernetes' own words, beside the rules of its kind that yield causes. Warnings are computed
after an object has passed validation, and only for callers over HTTP, which show them.
"""
