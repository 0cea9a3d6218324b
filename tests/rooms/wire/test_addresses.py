"""Which addresses count as public."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.wire.addresses import ForbiddenAddress, public

FORBIDDEN = [
    ("0.0.0.0", "this network"),
    ("0.1.2.3", "this network"),
    ("10.0.0.1", "private"),
    ("100.64.0.1", "CGNAT"),
    ("100.100.100.200", "CGNAT"),
    ("100.127.255.254", "CGNAT"),
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("168.63.129.16", "cloud"),
    ("169.254.169.254", "metadata"),
    ("169.254.170.2", "metadata"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.0.0.1", "protocols"),
    ("192.0.0.192", "protocols"),
    ("192.0.2.1", "documentation"),
    ("192.31.196.1", "AS112"),
    ("192.52.193.1", "AMT"),
    ("192.88.99.1", "6to4 relay"),
    ("192.168.1.1", "private"),
    ("192.175.48.1", "AS112"),
    ("198.18.0.1", "benchmarks"),
    ("198.19.255.255", "benchmarks"),
    ("198.51.100.1", "documentation"),
    ("203.0.113.7", "documentation"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.250", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "reserved"),
    ("::", "unspecified"),
    ("::1", "loopback"),
    ("::7f00:1", "IPv4-compatible"),
    ("::127.0.0.1", "IPv4-compatible"),
    ("::8.8.8.8", "IPv4-compatible"),
    ("::ffff:127.0.0.1", "loopback"),
    ("::ffff:169.254.169.254", "metadata"),
    ("::ffff:10.1.2.3", "private"),
    ("::ffff:0:127.0.0.1", "IPv4-translated"),
    ("64:ff9b::127.0.0.1", "loopback"),
    ("64:ff9b::a9fe:a9fe", "metadata"),
    ("64:ff9b::10.0.0.1", "private"),
    ("64:ff9b:1::1", "local NAT64"),
    ("64:ff9b:1:a9fe:a9:fe00::", "local NAT64"),
    ("64:ff9b:2::1", "global unicast"),
    ("100::1", "discard"),
    ("2001::1", "Teredo"),
    ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "Teredo"),
    ("2001:2::1", "protocols"),
    ("2001:20::1", "protocols"),
    ("2001:db8::1", "documentation"),
    ("2002:7f00:1::1", "6to4"),
    ("2002:a9fe:a9fe::1", "6to4"),
    ("2002:808:808::1", "6to4"),
    ("2620:4f:8000::1", "AS112"),
    ("3fff::1", "documentation"),
    ("5f00::1", "segment routing"),
    ("4000::1", "global unicast"),
    ("fc00::1", "private"),
    ("fd00:ec2::254", "private"),
    ("fe80::1", "link-local"),
    ("fe80::1%eth0", "network interface"),
    ("2606:4700::1%eth0", "network interface"),
    ("64:ff9b::8.8.8.8%eth0", "network interface"),
    ("fec0::1", "site-local"),
    ("ff02::1", "multicast"),
    ("ff0e::1", "multicast"),
]

ALLOWED = [
    ("8.8.8.8", "8.8.8.8"),
    ("1.1.1.1", "1.1.1.1"),
    ("100.63.255.255", "100.63.255.255"),
    ("100.128.0.1", "100.128.0.1"),
    ("172.32.0.1", "172.32.0.1"),
    ("223.255.255.254", "223.255.255.254"),
    ("::ffff:8.8.8.8", "8.8.8.8"),
    ("64:ff9b::8.8.8.8", "64:ff9b::808:808"),
    ("2606:4700::6810:84e5", "2606:4700::6810:84e5"),
    ("2a00:1450:4001:82a::200e", "2a00:1450:4001:82a::200e"),
    ("2001:4860:4860::8888", "2001:4860:4860::8888"),
]


@pytest.mark.parametrize(("address", "word"), FORBIDDEN)
def test_an_address_off_the_public_internet_is_refused_by_the_name_of_its_range(address: str, word: str) -> None:
    with pytest.raises(ForbiddenAddress, match=word):
        public(address)


@pytest.mark.parametrize(("address", "pinned"), ALLOWED)
def test_a_public_address_is_given_back_unwrapped(address: str, pinned: str) -> None:
    assert public(address) == pinned


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "0x7f000001", "010.1.1.1", "1.2.3.4.5", "::g"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ForbiddenAddress, match="no IP address"):
        public(text)


@given(st.ip_addresses(v=4))
def test_no_private_or_special_ipv4_address_passes_in_any_wrapping(address: IPv4Address) -> None:
    """Whatever the standard library calls special is refused, plain, mapped and behind NAT64 alike."""
    special = not address.is_global or address.is_multicast or address.is_reserved or address.is_loopback
    wrappings = [str(address), f"::ffff:{address}", f"64:ff9b::{address}"]
    passed = [wrapping for wrapping in wrappings if _passes(wrapping)]
    if special:
        assert passed == []
    else:
        assert len(passed) in (0, 3), "the wrapping changes nothing"


@given(st.ip_addresses(v=6))
def test_only_global_unicast_or_public_wrapped_ipv6_addresses_pass(address: IPv6Address) -> None:
    if _passes(str(address)):
        wrapped = address.ipv4_mapped or int(address) >> 32 == 0x64FF9B << 64
        assert wrapped or int(address) >> 125 == 1
        assert not address.is_multicast
        assert not address.is_private
        assert address.sixtofour is None
        assert address.teredo is None


def _passes(text: str) -> bool:
    try:
        public(text)
    except ForbiddenAddress:
        return False
    return True
