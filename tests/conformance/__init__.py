"""The official conformance suite of Kubernetes, run against a server and an agent that joined it."""
