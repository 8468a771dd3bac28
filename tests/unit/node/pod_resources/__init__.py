"""Tests of the pod resources API."""
