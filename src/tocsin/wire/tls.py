"""TLS for outgoing connections: the context, and words for what can go wrong before the first byte is sent.

In: a file with certificate authorities, or none for the system's. Out: a client context for HTTP/2 (ALPN `h2`,
RFC 9113 section 3.2) at TLS 1.2 or newer. Refuses peers without a trusted certificate for their name: nothing here
can be told to look away.
"""

import socket
import ssl
from pathlib import Path


class NoHttp2(ConnectionError):
    """The peer completed the TLS handshake and did not agree to HTTP/2."""


def client_context(ca_file: Path | None) -> ssl.SSLContext:
    """A context that trusts the system's authorities, or only those in `ca_file` (PEM).

    Raises OSError when the file cannot be read and ssl.SSLError when it holds no certificate.
    """
    context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    return context


def explain(failure: BaseException, name: str) -> str:
    """Why no connection to `name` came about, in words for people."""
    match failure:
        case ssl.SSLCertVerificationError():
            return f"the certificate of {name} was not accepted: {failure.verify_message}"
        case NoHttp2():
            return str(failure)
        case ssl.SSLError() if _declined_h2(failure):
            return no_http2(name)
        case ssl.SSLError():
            return f"the TLS handshake with {name} failed: {failure}"
        case socket.gaierror():
            return f"the name {name} does not resolve: {failure.strerror}"
        case ConnectionRefusedError():
            return f"{name} refused the connection"
        case TimeoutError():
            return f"{name} did not take the connection in time"
        case _:
            return f"no connection to {name}: {failure}"


def no_http2(name: str) -> str:
    """Words for a peer that does not agree to `h2`."""
    return f"{name} does not speak HTTP/2 (it did not choose `h2` by ALPN); peers with http/1.1 only cannot be reached"


def lasting(failure: BaseException) -> bool:
    """Whether trying again at once cannot help: the peer's certificate or its protocol is at fault."""
    return isinstance(failure, ssl.SSLCertVerificationError | NoHttp2) or _declined_h2(failure)


def _declined_h2(failure: BaseException) -> bool:
    """Whether the peer ended the handshake by the alert `no_application_protocol` (RFC 7301 section 3.2)."""
    return isinstance(failure, ssl.SSLError) and "NO_APPLICATION_PROTOCOL" in (getattr(failure, "reason", None) or "")
