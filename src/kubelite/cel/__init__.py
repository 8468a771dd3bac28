"""The Common Expression Language as Kubernetes 1.36 speaks it: parser, checker, costs, and programs of closures."""
