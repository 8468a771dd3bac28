"""What a gRPC method is called, and which messages it takes and gives."""

from typing import Generic, NamedTuple, TypeVar

from kubelite.grpc.protobuf import Message

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)


class Method(NamedTuple, Generic[Q, A]):
    """A method of a service; whether answers are one or a stream, its caller and handler know."""

    path: str  # /PACKAGE.SERVICE/METHOD
    request: type[Q]
    response: type[A]
