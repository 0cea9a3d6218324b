"""How the three great push services word a refusal: Mozilla's autopush, FCM for the web, Apple.

Takes the kind of refusal and the flavour of the subscription, gives the answer. Sources: autopush's table of errno,
Apple's table of reasons; FCM's texts are those observed in the field.
"""

from typing import NamedTuple

import orjson

from tocsin.lab.exchange import Answer

MOZILLA, FCM, APPLE = "mozilla", "fcm", "apple"
FLAVOURS = (MOZILLA, FCM, APPLE)


class Refusal(NamedTuple):
    """(HTTP status, autopush errno), the status of the others, Apple's reason, and words."""

    status: int
    errno: int
    elsewhere: int
    apple: str
    text: str


NOT_FOUND = Refusal(404, 102, 404, "BadPath", "Invalid endpoint: there is no such subscription.")
EXPIRED = Refusal(404, 102, 404, "BadPath", "The subscription expired.")
GONE = Refusal(410, 106, 410, "Unregistered", "push subscription has unsubscribed or expired.")
NO_TTL = Refusal(400, 111, 400, "BadTtl", "Missing TTL header.")
BAD_TTL = Refusal(400, 112, 400, "BadTtl", "Invalid TTL header value.")
BAD_TOPIC = Refusal(400, 113, 400, "BadWebPushTopic", "Invalid Topic header value.")
BAD_URGENCY = Refusal(400, 111, 400, "BadUrgency", "Invalid or repeated Urgency header.")
BAD_ENCODING = Refusal(
    400, 110, 400, "BadWebPushRequest", "Invalid crypto headers: Content-Encoding must be aes128gcm, once."
)
BAD_KEY = Refusal(400, 110, 400, "BadWebPushRequest", "The key of the message must differ from the VAPID key.")
BAD_REQUEST = Refusal(400, 108, 400, "BadWebPushRequest", "The request is not acceptable.")
TOO_LARGE = Refusal(
    413, 104, 413, "PayloadTooLarge", "This message is intended for a constrained device and is limited in size."
)
UNAUTHORISED = Refusal(401, 109, 403, "BadJwtToken", "Invalid VAPID credentials.")
MISMATCH = Refusal(
    401,
    109,
    403,
    "VapidPkHashMismatch",
    "the VAPID credentials in the authorization header do not correspond to the credentials used to create the "
    "subscriptions.",
)
THROTTLED = Refusal(429, 202, 429, "TooManyRequests", "Too many requests.")
BUSY = Refusal(503, 201, 503, "ServiceUnavailable", "The service is unavailable; use exponential back-off.")
ERROR = Refusal(500, 999, 500, "InternalServerError", "An internal error occurred.")
_TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    410: "Gone",
    413: "Payload Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


def refuse(refusal: Refusal, flavour: str, detail: str | None = None, retry_after: int | None = None) -> Answer:
    """The answer; `detail` stands in for the words where the flavour has words."""
    status = refusal.status if flavour == MOZILLA else refusal.elsewhere
    headers = [] if retry_after is None else [(b"retry-after", b"%d" % retry_after)]
    if flavour == MOZILLA:
        headers.append((b"content-type", b"application/json"))
        if status == 401:
            headers.append((b"www-authenticate", b"vapid"))
        told = {
            "code": status,
            "errno": refusal.errno,
            "error": _TITLES[status],
            "message": detail or refusal.text,
            "more_info": "http://autopush.readthedocs.io/en/latest/http.html#error-codes",
        }
        return Answer(status, headers, orjson.dumps(told))
    if flavour == APPLE:
        headers.append((b"content-type", b"application/json"))
        return Answer(status, headers, orjson.dumps({"reason": refusal.apple}))
    headers.append((b"content-type", b"text/plain; charset=utf-8"))
    return Answer(status, headers, (detail or refusal.text).encode() + b"\n")
