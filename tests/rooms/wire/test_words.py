"""Small rules of the wire: how long to wait, and how failures are told."""

import socket
import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.wire.backoff import CEILING, FIRST, pause
from tocsin.wire.endings import Origin
from tocsin.wire.tls import NoHttp2, client_context, explain, lasting


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_pause_is_at_least_half_of_its_step_and_never_beyond_the_ceiling(failures: int, draw: float) -> None:
    step = min(CEILING, FIRST * 2 ** min(failures - 1, 16))
    assert step / 2 <= pause(failures, lambda: draw) <= step


def test_pauses_grow_until_the_ceiling() -> None:
    assert [pause(failures, lambda: 0.0) for failures in (1, 2, 3, 7, 50)] == [0.05, 0.1, 0.2, 2.5, 2.5]


def _no_protocol() -> ssl.SSLError:
    failure = ssl.SSLError(1, "alert")
    failure.reason = "TLSV1_ALERT_NO_APPLICATION_PROTOCOL"
    return failure


@pytest.mark.parametrize(
    ("failure", "words", "lasts"),
    [
        (ConnectionRefusedError(), "push.example refused the connection", False),
        (TimeoutError(), "in time", False),
        (socket.gaierror(-2, "Name or service not known"), "does not resolve: Name or service not known", False),
        (ssl.SSLError(1, "bad record mac"), "the TLS handshake with push.example failed", False),
        (_no_protocol(), "does not speak HTTP/2", True),
        (NoHttp2("push.example does not speak HTTP/2"), "does not speak HTTP/2", True),
        (OSError("network is unreachable"), "network is unreachable", False),
    ],
)
def test_a_failure_is_told_in_words_and_judged_by_whether_it_lasts(failure: Exception, words: str, lasts: bool) -> None:
    assert words in explain(failure, "push.example")
    assert lasting(failure) is lasts


def test_the_context_verifies_names_and_offers_h2_from_tls_1_2_on() -> None:
    context = client_context(None)
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_file_without_certificates_is_refused_when_the_context_is_made(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing\n")
    with pytest.raises(ssl.SSLError):
        client_context(tmp_path / "ca.pem")
    with pytest.raises(FileNotFoundError):
        client_context(tmp_path / "absent.pem")


@pytest.mark.parametrize(
    ("origin", "authority"),
    [
        (Origin("push.example"), "push.example"),
        (Origin("push.example", 8443), "push.example:8443"),
        (Origin("2606:4700::1"), "[2606:4700::1]"),
        (Origin("2606:4700::1", 8443), "[2606:4700::1]:8443"),
    ],
)
def test_an_authority_is_written_as_http_2_wants_it(origin: Origin, authority: str) -> None:
    assert origin.authority == authority
