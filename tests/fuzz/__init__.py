"""Feeds every reader of foreign bytes what nobody would send in good faith; see docs/security.md."""
