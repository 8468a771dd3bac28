"""The way in for HTTP: routes from Ingresses, TLS by server name, and the proxy that a process of its own runs."""
