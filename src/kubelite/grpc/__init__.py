"""gRPC over HTTP/2 on Unix sockets and TCP without TLS: protobuf messages, a client and a server.

    class VersionRequest(Message):
        version: Annotated[str, 1] = ""

    VERSION = Method("/runtime.v1.RuntimeService/Version", VersionRequest, VersionResponse)

    client = GrpcClient(Path("/run/containerd/containerd.sock"))
    answer = await client.unary(VERSION, VersionRequest(), timeout_seconds=2)
    async for event in client.stream(EVENTS, EventsRequest()): ...

    server = GrpcServer(Path("plugin.sock"), {GET_INFO: get_info, LIST_AND_WATCH: list_and_watch})

`protobuf` and `hpack` are pure. `frames` has the wire format of HTTP/2, `connection` the state of both ends of a
connection; `client` and `server` add what a call is. The peer may be a plugin of another party, so all that it can
make this process hold is bounded, and what it may not send ends its connection.
"""
