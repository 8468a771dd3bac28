"""The libraries of functions that Kubernetes adds to CEL, one module each; `kubelite.cel.kubernetes` lists them."""
