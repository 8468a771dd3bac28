"""A client's connection to the API: what proves who is behind it."""

from kubelite.api.auth.caller import Credentials
from kubelite.serving.connection import ConnectionServer, HTTPConnection
from kubelite.serving.table import Slot


class Connection(HTTPConnection):
    """A connection that remembers the credentials its requests bring."""

    def __init__(self, server: ConnectionServer, slot: Slot) -> None:
        super().__init__(server, slot)
        self._bearer: tuple[str, Credentials] | None = None
        self._anonymous: Credentials | None = None

    def credentials(self, authorization: str) -> Credentials:
        """Return what a request on this connection brings; equal requests get the same object."""
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
