"""Rewrites the links of an HTML page, leaving everything else as it is."""

import html
import re
from collections.abc import Callable

LINKING = {
    "a": ("href",),
    "applet": ("codebase",),
    "area": ("href",),
    "audio": ("src",),
    "base": ("href",),
    "blockquote": ("cite",),
    "body": ("background",),
    "button": ("formaction",),
    "command": ("icon",),
    "del": ("cite",),
    "embed": ("src",),
    "form": ("action",),
    "frame": ("longdesc", "src"),
    "head": ("profile",),
    "html": ("manifest",),
    "iframe": ("longdesc", "src"),
    "img": ("longdesc", "src", "usemap"),
    "input": ("src", "usemap", "formaction"),
    "ins": ("cite",),
    "link": ("href",),
    "object": ("classid", "codebase", "data", "usemap"),
    "q": ("cite",),
    "script": ("src",),
    "source": ("src",),
    "video": ("poster", "src"),
}
# An unquoted "<" ends the match, so that many unclosed tags do not make matching quadratic.
_TAG = re.compile(rb"<([A-Za-z]+)(\s(?:[^<>\"']|\"[^\"]*\"|'[^']*')*)>")
_ATTRIBUTE = re.compile(rb"(\s)([A-Za-z-]+)(\s*=\s*)(\"[^\"]*\"|'[^']*'|[^\s\"'>]+)")


def rewrite_links(page: bytes, rewrite: Callable[[str], str]) -> bytes:
    """Return the page with `rewrite` applied to the value of each link attribute."""
    return _TAG.sub(lambda tag: _tag(tag, rewrite), page)


def _tag(tag: re.Match[bytes], rewrite: Callable[[str], str]) -> bytes:
    names = LINKING.get(tag[1].decode().lower())
    if names is None:
        return tag[0]

    def attribute(match: re.Match[bytes]) -> bytes:
        if match[2].decode().lower() not in names:
            return match[0]
        value = match[4].strip(b"\"'").decode(errors="surrogateescape")
        changed = html.escape(rewrite(html.unescape(value)))
        return b'%b%b%b"%b"' % (
            match[1],
            match[2],
            match[3],
            changed.encode(errors="surrogateescape"),
        )

    return b"<" + tag[1] + _ATTRIBUTE.sub(attribute, tag[2]) + b">"
