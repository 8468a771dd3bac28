"""The door components use to reach the API, in the process or over HTTPS."""
