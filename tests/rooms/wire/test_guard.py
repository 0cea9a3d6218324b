"""What a tenant may have called: the form of URLs at the door, and what names resolve to."""

from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.wire.addresses import ForbiddenAddress
from tocsin.wire.endings import Origin
from tocsin.wire.guard import check_url, pin

LAB = frozenset({("localhost", 9443)})

REFUSED = [
    ("http://push.example.com/x", "https"),
    ("//push.example.com/x", "https"),
    ("ftp://push.example.com/x", "https"),
    (" https://push.example.com/x", "https"),
    ("https:/push.example.com/x", "https"),
    ("https:push.example.com", "https"),
    ("javascript:alert(1)", "https"),
    ("", "https"),
    ("https://push.example.com/x#fragment", "fragment"),
    ("https://user@push.example.com/", "user name"),
    ("https://user:secret@push.example.com/", "user name"),
    ("https://push.example.com@127.0.0.1/", "user name"),
    ("https://push.example.com:80/", "port 80"),
    ("https://push.example.com:8443/", "port 8443"),
    ("https://push.example.com:0/", "port 0"),
    ("https://push.example.com:99999/", "port 99999"),
    ("https://push.example.com:443443/", "no host name"),
    ("https://push.example.com:/", "no host name"),
    ("https://push.example.com:4a/", "no host name"),
    ("https:///x", "no host name"),
    ("https://?x", "no host name"),
    ("https://push.example.com./", "no host name"),
    ("https://.push.example.com/", "no host name"),
    ("https://push..example.com/", "no host name"),
    ("https://-push.example.com/", "no host name"),
    ("https://push-.example.com/", "no host name"),
    ("https://pu_sh.example.com/", "no host name"),
    ("https://push%2eexample.com/", "no host name"),
    ("https://push.example.com\\@evil.example/", "user name"),
    ("https://push.example.com\\.evil.example/", "no host name"),
    ("https://push.example.com\t/", "no host name"),
    ("https://push.example.com\n/", "no host name"),
    ("https://" + "a" * 64 + ".example.com/", "no host name"),
    ("https://" + "a." * 130 + "example.com/", "no host name"),
    ("https://münchen.example/", "no host name"),
    ("https://①②⑦.⓪.⓪.①/", "no host name"),
    ("https://１２７.０.０.１/", "no host name"),
    ("https://127。0。0。1/", "no host name"),
    ("https://[::1%25eth0]/", "no host name"),
    ("https://[v1.fe80]/", "no host name"),
    ("https://localhost/", "no domain"),
    ("https://LOCALHOST/", "no domain"),
    ("https://metadata/", "no domain"),
    ("https://foo.localhost/", "never leads"),
    ("https://printer.local/", "never leads"),
    ("https://metadata.google.internal/", "never leads"),
    ("https://router.home.arpa/", "never leads"),
    ("https://service.onion/", "never leads"),
    ("https://push.test/", "never leads"),
    ("https://2130706433/", "disguise"),
    ("https://0x7f000001/", "disguise"),
    ("https://0X7F000001/", "disguise"),
    ("https://0x/", "disguise"),
    ("https://017700000001/", "disguise"),
    ("https://127.1/", "disguise"),
    ("https://127.0.1/", "disguise"),
    ("https://0x7f.0.0.1/", "disguise"),
    ("https://0177.0.0.1/", "disguise"),
    ("https://0251.0376.0251.0376/", "disguise"),
    ("https://127.0.0.01/", "disguise"),
    ("https://push.example.0x7f/", "disguise"),
    ("https://1.2.3.4.5/", "disguise"),
    ("https://127.0.0.1/", "loopback"),
    ("https://127.0.0.1:443/", "loopback"),
    ("https://169.254.169.254/latest/meta-data/", "metadata"),
    ("https://999.1.1.1/", "no IP address"),
    ("https://[::1]/", "loopback"),
    ("https://[::ffff:127.0.0.1]/", "loopback"),
    ("https://[64:ff9b::a9fe:a9fe]/", "metadata"),
    ("https://[2002:a9fe:a9fe::1]/", "6to4"),
    ("https://[fd00:ec2::254]/", "private"),
    ("https://[:::]/", "no IP address"),
    ("https://push.example.com/a b", "RFC 3986"),
    ("https://push.example.com/ä", "RFC 3986"),
    ("https://push.example.com/%zz", "RFC 3986"),
    ("https://push.example.com/x\r\nhost: evil", "RFC 3986"),
    ("https://push.example.com/?q=<script>", "RFC 3986"),
    ("https://push.example.com/x\n", "RFC 3986"),
    ("https://push.example.com/" + "x" * 2048, "2048"),
]

TAKEN = [
    ("https://fcm.googleapis.com/fcm/send/abc:APA91b_-x", "fcm.googleapis.com", b"/fcm/send/abc:APA91b_-x"),
    ("https://updates.push.services.mozilla.com/wpush/v2/gAA=", "updates.push.services.mozilla.com", b"/wpush/v2/gAA="),
    ("https://wns2-by3p.notify.windows.com/w/?token=BQ%2f%3d", "wns2-by3p.notify.windows.com", b"/w/?token=BQ%2f%3d"),
    ("https://web.push.apple.com/QGu~x", "web.push.apple.com", b"/QGu~x"),
    ("HTTPS://Push.Example.COM:443", "push.example.com", b"/"),
    ("https://push.example.com?a=b/c?d", "push.example.com", b"/?a=b/c?d"),
    ("https://xn--mnchen-3ya.example/", "xn--mnchen-3ya.example", b"/"),
    ("https://8.8.8.8/x", "8.8.8.8", b"/x"),
    ("https://[2606:4700::1111]/x", "2606:4700::1111", b"/x"),
    ("https://3com.example.com/", "3com.example.com", b"/"),
]


@pytest.mark.parametrize(("url", "word"), REFUSED)
def test_a_url_that_must_not_be_called_is_refused_with_the_reason(url: str, word: str) -> None:
    with pytest.raises(ForbiddenAddress, match=word):
        check_url(url)


@pytest.mark.parametrize(("url", "host", "path"), TAKEN)
def test_the_endpoints_of_real_push_services_are_taken(url: str, host: str, path: bytes) -> None:
    assert check_url(url) == (Origin(host, 443, guarded=True), path)


def test_a_trusted_origin_is_taken_by_its_very_name_and_port_only() -> None:
    assert check_url("https://localhost:9443/wpush/v2/x", LAB).origin == Origin("localhost", 9443, guarded=True)
    for other in (
        "https://localhost:9444/",
        "https://127.0.0.1:9443/",
        "https://localhost/",
        "https://a.localhost:9443/",
    ):
        with pytest.raises(ForbiddenAddress):
            check_url(other, LAB)
    with pytest.raises(ForbiddenAddress):
        check_url("http://localhost:9443/", LAB)


@given(st.text(max_size=60))
def test_no_text_makes_the_check_fail_in_another_way(text: str) -> None:
    for url in (text, "https://" + text, "https://push.example.com/" + text):
        with suppress(ForbiddenAddress):
            endpoint = check_url(url)
            assert endpoint.origin.port == 443
            assert endpoint.path.startswith(b"/")
            assert not set(endpoint.path) & set(b" \r\n\t\\")


class Resolver:
    """Gives the next of its answers at each question."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.questions: list[tuple[str, int]] = []

    async def __call__(self, name: str, port: int) -> Sequence[str]:
        self.questions.append((name, port))
        return self.answers.pop(0)


PUSH = Origin("push.example.com", guarded=True)


async def test_a_name_is_resolved_once_and_all_its_addresses_are_pinned() -> None:
    resolver = Resolver(["93.184.215.14", "2606:4700::1111", "93.184.215.14", "::ffff:8.8.4.4"])
    assert await pin(PUSH, frozenset(), resolver) == ["93.184.215.14", "2606:4700::1111", "8.8.4.4"]
    assert resolver.questions == [("push.example.com", 443)]


@pytest.mark.parametrize(
    "answers", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["fe80::1%eth0"], ["64:ff9b::7f00:1"], ["8.8.8.8", "::1"]]
)
async def test_one_forbidden_address_among_public_ones_forbids_the_name(answers: list[str]) -> None:
    with pytest.raises(ForbiddenAddress, match=r"push\.example\.com leads to"):
        await pin(PUSH, frozenset(), Resolver(answers))


async def test_a_name_that_points_elsewhere_at_the_second_question_is_refused_then() -> None:
    resolver = Resolver(["8.8.8.8"], ["169.254.169.254"])
    assert await pin(PUSH, frozenset(), resolver) == ["8.8.8.8"]
    with pytest.raises(ForbiddenAddress, match="metadata"):
        await pin(PUSH, frozenset(), resolver)


async def test_a_name_without_an_address_does_not_resolve() -> None:
    with pytest.raises(OSError, match="no address"):
        await pin(PUSH, frozenset(), Resolver([]))


async def test_an_address_in_the_url_is_judged_without_asking_anybody() -> None:
    resolver = Resolver()
    assert await pin(Origin("8.8.8.8", guarded=True), frozenset(), resolver) == ["8.8.8.8"]
    for host in ("127.0.0.1", "::1", "2130706433", "localhost"):
        with pytest.raises(ForbiddenAddress):
            await pin(Origin(host, guarded=True), frozenset(), resolver)
    assert resolver.questions == []


async def test_a_trusted_origin_is_not_looked_up_here() -> None:
    assert await pin(Origin("localhost", 9443, guarded=True), LAB, Resolver()) is None
