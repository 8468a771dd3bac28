"""Accepts client certificates of unknown authorities in the TLS handshake, so that the answer is 401 with a reason.

Python's ssl aborts such a handshake, whereas Kubernetes answers Unauthorized. The handshake still proves that the
client holds the certificate's key; `api.auth.x509` checks issuer and validity on every request. The callback is set
through OpenSSL's own API, on CPython versions where its symbols are known to be reachable.
"""

import ctypes
import ssl
import sys

_Verify = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p)


_accept = _Verify(lambda _verified, _store: 1)


def accept_any_client_certificate(context: ssl.SSLContext) -> bool:
    """Make a server context accept any client certificate; return whether that was possible.

    If not, a certificate of an unknown authority fails the handshake.
    """
    library = _openssl()
    if library is None or context.verify_mode == ssl.CERT_NONE:
        return False
    # CPython's SSLContext is the object header followed by the pointer to OpenSSL's SSL_CTX.
    pointer = ctypes.c_void_p.from_address(id(context) + object.__basicsize__)
    if (
        not pointer.value
        or library.SSL_CTX_get_options(pointer) & 0xFFFFFFFF != context.options & 0xFFFFFFFF
    ):
        return False
    library.SSL_CTX_set_verify(pointer, int(context.verify_mode), _accept)
    return True


def _openssl() -> ctypes.CDLL | None:
    is_known = sys.implementation.name == "cpython" and (3, 11) <= sys.version_info < (3, 15)
    if not is_known or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return None
    try:
        import _ssl

        library = ctypes.CDLL(_ssl.__file__)
        get_options, set_verify = library.SSL_CTX_get_options, library.SSL_CTX_set_verify
    except (ImportError, OSError, AttributeError):
        return None  # linked statically, its symbols hidden
    get_options.argtypes, get_options.restype = [ctypes.c_void_p], ctypes.c_uint64
    set_verify.argtypes, set_verify.restype = [ctypes.c_void_p, ctypes.c_int, _Verify], None
    return library
