"""Expressions in the schemas of custom resources: their types, their rules, and what the rules find."""
