"""A client's connection to the API and the credentials of its requests."""

from collections.abc import Mapping

from msgspec.structs import replace

from kubelite.api.auth.caller import Credentials
from kubelite.api.auth.front_proxies import USER
from kubelite.serving.connection import ConnectionServer, HTTPConnection
from kubelite.serving.table import Slot


class Connection(HTTPConnection):
    """A connection that caches the credentials of its last bearer token and of anonymous requests."""

    def __init__(self, server: ConnectionServer, slot: Slot) -> None:
        super().__init__(server, slot)
        self._bearer: tuple[str, Credentials] | None = None
        self._anonymous: Credentials | None = None

    def credentials(self, authorization: str, headers: Mapping[str, str]) -> Credentials:
        """Return the credentials of a request with this Authorization header; equal headers share one object.

        What names a caller in `headers` is part of them only beside a certificate, which may be a trusted proxy's.
        """
        if self.certificate is not None and USER in headers:
            return replace(self._credentials(authorization), headers=headers)
        return self._credentials(authorization)

    def _credentials(self, authorization: str) -> Credentials:
        if not authorization:
            if self._anonymous is None:
                self._anonymous = Credentials(
                    certificate=self.certificate, remote_address=self.remote_address
                )
            return self._anonymous
        if self._bearer is None or self._bearer[0] != authorization:
            scheme, _, token = authorization.partition(" ")
            self._bearer = (
                authorization,
                Credentials(
                    certificate=self.certificate,
                    bearer_token=token.strip() if scheme.lower() == "bearer" else "",
                    remote_address=self.remote_address,
                ),
            )
        return self._bearer[1]
