"""All that is served, and the verbs on it."""
