"""Which IP addresses lie on the public internet.

In: an address. Out: the address to connect to, unwrapped from IPv4-mapped and NAT64 forms.
Refuses, naming the range: all that is not global unicast, by an explicit list; `ipaddress.is_global` is not asked, as
it lets multicast, relays and wrapped private addresses through. The list follows the IANA special-purpose registries
(RFC 6890) and adds cloud-internal addresses that look public.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final


class ForbiddenAddress(ValueError):
    """An address or URL that must not be called; the text says which part and why."""


_V4: Final = [
    (IPv4Network(network), name)
    for network, name in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by carriers (CGNAT)"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "internal to a cloud"),
        ("169.254.0.0/16", "link-local, where clouds keep their metadata"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "set aside for protocols"),
        ("192.0.2.0/24", "for documentation"),
        ("192.31.196.0/24", "set aside for name servers (AS112)"),
        ("192.52.193.0/24", "a multicast relay (AMT)"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("192.175.48.0/24", "set aside for name servers (AS112)"),
        ("198.18.0.0/15", "for benchmarks"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
]

_GLOBAL_V6: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")

# Named first, so that a refusal says what the address is; what no row names must still lie in 2000::/3.
_V6: Final = [
    (IPv6Network(network), name)
    for network, name in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::/96", "an IPv4-compatible wrapping"),
        ("::ffff:0:0:0/96", "an IPv4-translated wrapping"),
        ("64:ff9b:1::/48", "a local NAT64 wrapping"),
        ("100::/64", "the discard prefix"),
        ("2001::/32", "a Teredo wrapping"),
        ("2001::/23", "set aside for protocols"),
        ("2001:db8::/32", "for documentation"),
        ("2002::/16", "a 6to4 wrapping"),
        ("2620:4f:8000::/48", "set aside for name servers (AS112)"),
        ("3fff::/20", "for documentation"),
        ("5f00::/16", "for segment routing"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
]


def public(text: str) -> str:
    """The address to connect to for `text`, which a resolver or a URL gave.

    IPv4-mapped (RFC 4291 section 2.5.5.2) and NAT64 addresses (64:ff9b::/96, RFC 6052) are judged by what they wrap.
    The other wrappings (IPv4-compatible, 6to4, Teredo, 64:ff9b:1::/48) are refused whatever they wrap: no public
    service is found behind them. Raises ForbiddenAddress.
    """
    try:
        address = ip_address(text)
    except ValueError:
        raise ForbiddenAddress(f"{text!r} is no IP address") from None
    if isinstance(address, IPv4Address):
        return _public_v4(address, text)
    if address.ipv4_mapped is not None:
        return _public_v4(address.ipv4_mapped, text)
    if address in _NAT64 and address.scope_id is None:
        _public_v4(IPv4Address(int(address) & 0xFFFF_FFFF), text)
        return str(address)
    return _public_v6(address, text)


def _public_v4(address: IPv4Address, text: str) -> str:
    for network, name in _V4:
        if address in network:
            raise ForbiddenAddress(f"{text} is {name}; only public addresses may be called")
    return str(address)


def _public_v6(address: IPv6Address, text: str) -> str:
    if address.scope_id is not None:
        raise ForbiddenAddress(f"{text} names a network interface; only public addresses may be called")
    for network, name in _V6:
        if address in network:
            raise ForbiddenAddress(f"{text} is {name}; only public addresses may be called")
    if address not in _GLOBAL_V6:
        raise ForbiddenAddress(f"{text} is not global unicast (2000::/3); only public addresses may be called")
    return str(address)
