"""The machinery for objects of any kind: schema, defaulting, patches, apply, selectors, tables, OpenAPI."""
