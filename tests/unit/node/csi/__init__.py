"""Tests of the node's side of CSI."""
