"""Pod networking, service proxying and DNS."""
