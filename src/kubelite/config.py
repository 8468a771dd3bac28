"""One frozen configuration from flags, environment and file."""
