"""The libraries of functions that Kubernetes 1.36 adds to CEL, one module each; `kubelite.cel.kubernetes` lists them."""
