"""Tests of plugins that register with a node."""
