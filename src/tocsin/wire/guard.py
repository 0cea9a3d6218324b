"""The guard for every address a tenant supplies: at the door by form, and before connecting by what it resolves to.

In: a URL, or an origin to connect to. Out: the origin and path to call; the very addresses a connection may be made to.
Refuses: anything but plain https to a public host, names that are numbers in disguise, and a name of which even one
address is not public. An origin that wiring trusts (the lab's) is exempt by name and port.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from tocsin.wire.addresses import ForbiddenAddress, public
from tocsin.wire.endings import Origin

Trusted = frozenset[tuple[str, int]]
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Takes a name and a port, gives the IP addresses of it as text; raises OSError when there is none."""

_LONGEST_URL: Final = 2048
_URL: Final = re.compile(r"https://([^/?#]*)(/[^?#]*)?(\?[^#]*)?\Z", re.IGNORECASE)
# RFC 3986 section 3.3 and 3.4: what a path and a query may hold.
_TARGET: Final = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*\Z")
_AUTHORITY: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+))(?::([0-9]{1,5}))?\Z")
_LABEL: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)\Z")
_NUMBER: Final = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z")
_QUAD: Final = re.compile(r"(?:(?:0|[1-9][0-9]{0,2})\.){3}(?:0|[1-9][0-9]{0,2})\Z")
# Names that never lead to the public internet (RFC 6761, 6762, 7686, 8375, 9476; `internal` by ICANN 2024).
_NEVER_PUBLIC: Final = (
    "localhost",
    "local",
    "internal",
    "intranet",
    "lan",
    "home.arpa",
    "onion",
    "invalid",
    "test",
    "alt",
)


class Endpoint(NamedTuple):
    """A checked URL: where to connect (guarded) and what to ask for, query included."""

    origin: Origin
    path: bytes


def check_url(url: str, trusted: Trusted = frozenset()) -> Endpoint:
    """What a tenant supplied, checked by form alone: no name is resolved.

    Takes https with a public host name or public IP address and port 443, or an origin in `trusted`; no user
    information, no fragment, only the characters of RFC 3986. Raises ForbiddenAddress, saying what to change.
    """
    if len(url) > _LONGEST_URL:
        raise ForbiddenAddress(f"the URL has {len(url)} characters; at most {_LONGEST_URL} are taken")
    parts = _URL.match(url)
    if parts is None:
        raise ForbiddenAddress("the URL must begin with https:// and have no fragment")
    authority, path, query = parts[1], parts[2] or "/", parts[3] or ""
    if "@" in authority:
        raise ForbiddenAddress("the URL must not carry a user name or password")
    if not _TARGET.match(path + query):
        raise ForbiddenAddress("the path or query holds a character that RFC 3986 does not allow; percent-encode it")
    matched = _AUTHORITY.match(authority)
    if matched is None:
        raise ForbiddenAddress(f"{authority!r} is no host name; write it in ASCII, an international name as xn--…")
    host = (matched[1] or matched[2]).lower()
    origin = Origin(host, int(matched[3] or 443), guarded=True)
    check_origin(origin, trusted)
    return Endpoint(origin, (path + query).encode("ascii"))


def check_origin(origin: Origin, trusted: Trusted = frozenset()) -> None:
    """Whether an origin has the form of a public one, or is trusted. Raises ForbiddenAddress."""
    host = origin.host
    if (host, origin.port) in trusted:
        return
    if origin.port != 443:
        raise ForbiddenAddress(f"port {origin.port} may not be called; only 443 may")
    if ":" in host or _QUAD.match(host):
        public(host)
        return
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.match(label) for label in labels):
        raise ForbiddenAddress(f"{host!r} is no host name: labels of a-z, 0-9 and - with one dot between them")
    # What ends in a number is an IPv4 address to a resolver: 2130706433, 0x7f.1, 0177.0.0.1 (WHATWG URL, section 3.5).
    if _NUMBER.match(labels[-1]):
        raise ForbiddenAddress(f"{host!r} is an IP address in disguise; write it as four decimal numbers")
    if len(labels) == 1:
        raise ForbiddenAddress(f"{host!r} has no domain; only public names may be called")
    if host.endswith(tuple("." + name for name in _NEVER_PUBLIC)):
        raise ForbiddenAddress(f"{host!r} is a name that never leads to the public internet")


async def resolve(name: str, port: int) -> Sequence[str]:
    """Ask the system's resolver for all addresses of a name. Raises OSError (socket.gaierror) when there is none."""
    loop = asyncio.get_running_loop()
    answers = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [str(answer[4][0]) for answer in answers]


async def pin(origin: Origin, trusted: Trusted, resolver: Resolve = resolve) -> Sequence[str] | None:
    """The addresses a connection to a guarded origin may be made to; None for a trusted one, which is not looked up.

    The name is resolved once, here. One address that is not public forbids all of them, as a name that points both
    ways is an attack or a mistake. Raises ForbiddenAddress, and OSError when the name does not resolve.
    """
    if (origin.host, origin.port) in trusted:
        return None
    check_origin(origin)
    if ":" in origin.host or _QUAD.match(origin.host):
        return [public(origin.host)]
    answers = await resolver(origin.host, origin.port)
    if not answers:
        raise OSError("the resolver gave no address")
    try:
        return list(dict.fromkeys(public(answer) for answer in answers))
    except ForbiddenAddress as refusal:
        raise ForbiddenAddress(f"{origin.host} leads to an address that may not be called: {refusal}") from None
