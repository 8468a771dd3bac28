"""The program that works with keys and certificates: each line of input is a question, each of output its answer.

It is the only part of `joining` that loads the library for it, and runs as a process of its own: see `keys`.
"""

import sys
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from kubelite.api.auth.certificates import (
    UNREADABLE,
    Wanted,
    alternative_names,
    common_name,
    key_pem,
    new_key,
    read_key,
    signing_request,
)
from kubelite.api.auth.secret_files import write_file
from kubelite.joining.keys import (
    Answer,
    Certificate,
    CertificateUnreadable,
    FileUnusable,
    KeyUnusable,
    OfAnotherKey,
    Question,
    Read,
    Signed,
    SignRequest,
    Subject,
)


def main() -> None:
    """Answer until the input ends, as it does when the asking process is gone."""
    for line in sys.stdin.buffer:
        found = answer(msgspec.json.decode(line, type=Question))
        sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
        sys.stdout.buffer.flush()


def answer(question: Question) -> Answer:
    """Return the answer to a question."""
    try:
        match question:
            case SignRequest(key, subject):
                return _signed(ensure_key(Path(key)), subject)
            case Read(key, pem):
                return _read(pem, read_key(Path(key).read_bytes()))
    except OSError as error:
        return FileUnusable(error.errno or 0, str(error.filename or question.key))
    except (ValueError, TypeError) as error:
        return KeyUnusable(str(error))


def ensure_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Return the key in a file; make it if there is none. Raises OSError, ValueError, TypeError."""
    try:
        return read_key(path.read_bytes())
    except FileNotFoundError:
        write_file(path, key_pem(new_key()))
        return read_key(path.read_bytes())


def _signed(key: ec.EllipticCurvePrivateKey, subject: Subject) -> Signed:
    wanted = Wanted(
        subject.common_name, subject.organizations, subject.dns_names, subject.addresses
    )
    return Signed(signing_request(key, wanted))


def _read(pem: bytes, key: ec.EllipticCurvePrivateKey) -> Answer:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        if certificate.public_key() != key.public_key():
            return OfAnotherKey()
        names, addresses = alternative_names(certificate)
        return Certificate(
            common_name(certificate.subject),
            tuple(names),
            tuple(addresses),
            f"{certificate.serial_number:x}",
            certificate.not_valid_before_utc,
            certificate.not_valid_after_utc,
        )
    except (TypeError, *UNREADABLE) as error:
        return CertificateUnreadable(str(error))


if __name__ == "__main__":
    main()
