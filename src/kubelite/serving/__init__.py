"""Serving HTTPS within bounds: what the API's and the node's ports have in common."""
