"""The clients of components, in the server's process or over HTTPS."""
