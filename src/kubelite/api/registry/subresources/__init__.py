"""Subresources with behaviour of their own, one file each."""
