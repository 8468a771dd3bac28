"""The types of the core group, one file per subject."""
