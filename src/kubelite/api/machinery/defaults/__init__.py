"""What fills the absent fields of each built-in kind, one file per group."""
