"""The answers that the proxy gives itself."""

REASONS = {
    301: b"Moved Permanently",
    302: b"Found",
    303: b"See Other",
    307: b"Temporary Redirect",
    308: b"Permanent Redirect",
    400: b"Bad Request",
    404: b"Not Found",
    408: b"Request Timeout",
    413: b"Content Too Large",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
}
TEXTS = {
    404: b"no route matches this host and path",
    408: b"the request did not arrive in time",
    413: b"the body is larger than this route takes",
    502: b"the backend did not give a valid answer",
    503: b"no endpoint of the backend is ready",
    504: b"the backend did not answer in time",
}


Field = tuple[bytes, bytes]


def content_of(status: int, location: bytes = b"") -> tuple[list[Field], bytes]:
    """Return fields and text of a response."""
    text = (
        b""
        if location
        else b"%d %b: %b\n" % (status, REASONS[status], TEXTS.get(status, b"refused"))
    )
    fields = [
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"X-Content-Type-Options", b"nosniff"),
        (b"Content-Length", b"%d" % len(text)),
    ]
    if location:
        fields.append((b"Location", location))
    return fields, text


def page(status: int, *, closes: bool, has_body: bool = True, location: bytes = b"") -> bytes:
    """Return a whole response of HTTP/1.1."""
    fields, text = content_of(status, location)
    lines = [b"HTTP/1.1 %d %b" % (status, REASONS[status])]
    lines += [b"%b: %b" % field for field in fields]
    if closes:
        lines.append(b"Connection: close")
    return b"\r\n".join((*lines, b"", text if has_body else b""))
