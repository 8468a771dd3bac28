"""Aggregated APIs: requests, discovery and OpenAPI of group versions that other API servers answer for."""
