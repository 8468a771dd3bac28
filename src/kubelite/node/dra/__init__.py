"""Dynamic resource allocation on a node: drivers, the claims they prepare, and the health of devices.

Imported with the first driver that registers, or the first pod that has claims.
"""
