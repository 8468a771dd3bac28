"""What works on any kind: schema, defaulting, validation, patches, apply, selectors, tables, OpenAPI."""
