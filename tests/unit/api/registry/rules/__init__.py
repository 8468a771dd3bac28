"""Tests of the rules of kinds."""
