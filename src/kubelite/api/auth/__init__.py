"""Authentication, authorization, audit, and the keys and certificates of a cluster."""
