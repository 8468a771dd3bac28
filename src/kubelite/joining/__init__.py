"""How a machine joins a cluster: it proves the server, gets certificates for keys of its own, and renews them.

`verify` proves the server by the hash in the token before any secret is sent. `requests` gets a certificate by a
CertificateSigningRequest. `bootstrap` puts both together, and `renewal` keeps the certificates fresh. `files` is what
of all this is on disk, `credentials` the TLS contexts made of it, `settings` what the cluster says of itself.
"""
