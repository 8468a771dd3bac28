"""Lets a client with a certificate of a foreign authority finish the handshake, so that it is told 401 and why.

Python's ssl can only refuse such a handshake, where Kubernetes answers Unauthorized. The handshake itself still proves
that the client holds the certificate's key; who signed it, and until when it is good, `api.auth.x509` checks on every
request. OpenSSL is told so through its own interface, and only where that is known to be reachable.
"""

import ctypes
import ssl
import sys

_Verify = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p)


_accept = _Verify(lambda _verified, _store: 1)


def accept_any_client_certificate(context: ssl.SSLContext) -> bool:
    """Have a server context ask for client certificates and take any; say whether that was possible.

    Where it was not, certificates of foreign authorities break the handshake.
    """
    library = _openssl()
    if library is None or context.verify_mode == ssl.CERT_NONE:
        return False
    # CPython's context object is its header followed by the pointer to OpenSSL's.
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
