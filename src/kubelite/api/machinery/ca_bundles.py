"""Checks that a CA bundle of a webhook can be used.

Source: client-go's transport, its wording included. One good certificate is enough, and blocks of other types are
skipped.
"""

import binascii
import re
import ssl

_BLOCK = re.compile(
    r"-----BEGIN ([A-Z0-9 ]+)-----\s*\n([^-]*)-----END \1-----",
)


def ca_bundle_error(encoded: str) -> str:
    """Return why a base64 bundle holds no certificate; "" if it holds one or is empty."""
    if not encoded:
        return ""
    text = binascii.a2b_base64(encoded).decode("latin-1")
    blocks = _BLOCK.findall(text)
    if not blocks:
        return "unable to load root certificates: unable to parse bytes as PEM block"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    failure = "no valid certificate authority data seen"
    for kind, content in blocks:
        if kind != "CERTIFICATE" or ":" in content:
            continue
        try:
            context.load_verify_locations(cadata=binascii.a2b_base64(content))
        except (ssl.SSLError, binascii.Error):
            if failure.startswith("no valid"):
                failure = "failed to parse certificate: x509: malformed certificate"
        else:
            return ""
    return f"unable to load root certificates: {failure}"
