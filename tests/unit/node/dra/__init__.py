"""Tests of dynamic resource allocation on a node."""
