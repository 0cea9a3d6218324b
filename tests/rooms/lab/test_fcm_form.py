"""What FCM takes and refuses in a message, field by field."""

import pytest

from tocsin.lab import make
from tocsin.lab.fcm import rules, schema

TOKEN = make("ok", 1)


def message(**parts):
    return {"token": TOKEN, **parts}


def judged(body, octets=None):
    """The words of the first thing wrong, or None."""
    found = schema.violations(body)
    if found:
        return found[0].description
    violation = rules.violation(body["message"], octets if octets is not None else 10_000)
    return violation.description if violation else None


@pytest.mark.parametrize(
    "given",
    [
        message(notification={"title": "t", "body": "b", "image": "https://x/i.png"}, data={"k": "v"}),
        {"fid": "c" + "x" * 21},
        {"topic": "news"},
        {"condition": "'a' in topics && ('b' in topics || !('c' in topics))"},
        message(android={"ttl": "3.5s", "priority": "HIGH", "collapse_key": "k", "directBootOk": True}),
        message(android={"notification": {"notification_count": "3", "vibrateTimings": ["1s", "0.5s"]}}),
        message(android={"notification": {"light_settings": {"color": {"red": 1, "alpha": 0.5}}}}),
        message(android={"notification": {"event_time": "2026-01-02T03:04:05.5Z", "visibility": "PUBLIC"}}),
        message(androidV2={"remote_notification": {"notification": {"id": 4, "title": "t"}}}),
        message(android_v2={"backgroundSync": {}}),
        message(webpush={"headers": {"TTL": "5"}, "notification": {"any": [1]}, "fcm_options": {"link": "https://x"}}),
        message(apns={"headers": {"apns-priority": "5"}, "payload": {"aps": {"alert": "x"}}}),
        message(android={"priority": "high"}),
        message(fcmOptions={"analyticsLabel": "a-b_c.d~%"}, notification=None),
    ],
)
def test_good_messages_are_taken_in_both_spellings(given):
    assert judged({"message": given}) is None
    assert (
        judged(
            {
                "message": given,
                "validate_only": True,
            }
        )
        is None
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (message(titel="x"), "Unknown name \"titel\" at 'message': Cannot find field."),
        (message(android={"notification": {"id": 1}}), "Unknown name \"id\" at 'message.android.notification'"),
        (message(android_v2={"priority": "HIGH"}), 'Unknown name "priority"'),
        (message(data={"k": 1}), "Invalid value at 'message.data[0].value' (TYPE_STRING), 1"),
        (message(data=["k"]), "Invalid value at 'message.data' (map)"),
        (message(notification={"title": 5}), "'message.notification.title' (TYPE_STRING), 5"),
        (message(notification="x"), "'message.notification' (message)"),
        (message(android={"ttl": "5"}), "google.protobuf.Duration"),
        (message(android={"priority": "URGENT"}), '(TYPE_ENUM), "URGENT"'),
        (message(android={"direct_boot_ok": "yes"}), "TYPE_BOOL"),
        (message(android={"notification": {"notification_count": 2**31}}), "TYPE_INT32"),
        (message(android={"notification": {"event_time": "today"}}), "google.protobuf.Timestamp"),
        (message(android={"notification": {"body_loc_args": "x"}}), "repeated"),
        (message(android={"notification": {"body_loc_args": [1]}}), "'message.android.notification.body_loc_args[0]'"),
        (message(android={"notification": {"light_settings": {"color": {"red": "x"}}}}), "TYPE_FLOAT"),
        (message(apns={"payload": 1}), "google.protobuf.Struct"),
        ({}, "Exactly one of fid, token, topic or condition"),
        (message(topic="x"), "Exactly one of"),
        ({"token": "abc"}, "not a valid FCM registration token"),
        ({"fid": "abc"}, "not a valid FCM registration token"),
        ({"topic": "/topics/x"}, "Invalid topic name."),
        ({"condition": "nonsense"}, "Invalid condition"),
        ({"condition": " || ".join(f"'{n}' in topics" for n in range(6))}, "Invalid condition"),
        (message(data={"from": "x"}), "Invalid data payload key: from"),
        (message(data={"google.x": "x"}), "Invalid data payload key: google.x"),
        (message(data={"gcm.notification.x": "x"}), "Invalid data payload key"),
        (message(android={"data": {"message_type": "x"}}), "Invalid data payload key: message_type"),
        (message(android={"ttl": "2419201s"}), "Invalid Android TTL"),
        (message(android={"ttl": "-1s"}), "Invalid Android TTL"),
        (message(android={}, android_v2={}), "Only one of android and android_v2"),
        (message(android_v2={"remote_notification": {}, "background_sync": {}}), "Only one of remote_notification"),
        (message(fcm_options={"analytics_label": "a b"}), "Invalid analytics label."),
        (message(apns={"fcm_options": {"analytics_label": "x" * 51}}), "Invalid analytics label."),
        (message(webpush={"fcm_options": {"link": "http://x"}}), "https URL"),
    ],
)
def test_bad_messages_are_refused_by_name(given, words):
    said = judged({"message": given})
    assert said is not None
    assert words in said


@pytest.mark.parametrize("body", [{}, {"message": None}, {"validate_only": True}])
def test_a_request_without_a_message_is_refused(body):
    assert judged(body) == "Message is required."


def test_an_unknown_name_at_the_top_is_refused():
    assert judged({"message": message(), "dryRun": True}) == (
        'Invalid JSON payload received. Unknown name "dryRun": Cannot find field.'
    )


@pytest.mark.parametrize(
    ("parts", "size"),
    [
        ({"data": {"ké": "v" * 4093}}, 4096),
        ({"data": {"k": "v"}, "notification": {"title": "abc"}}, 10),
        ({"data": {"k": "v"}, "android": {"data": {"other": "words"}}}, 10),
        ({"notification": {"title": "abc"}, "android": {"notification": {"title": "longer title"}}}, 17),
        ({"notification": {"title": "abc"}, "androidV2": {"remoteNotification": {"notification": {"id": 7}}}}, 11),
        ({"data": {"k": "v"}, "apns": {"payload": {"aps": {"badge": 10, "x": [None, "y"]}}}}, 14),
    ],
)
def test_the_size_is_that_of_the_platform_which_gets_most(parts, size):
    assert rules.payload_size(message(**parts)) == size


def test_4096_octets_fit_a_device_and_2048_a_topic():
    for target, limit in ((("token", TOKEN), 4096), (("topic", "news"), 2048)):
        exact = {"message": {target[0]: target[1], "data": {"k": "v" * (limit - 1)}}}
        over = {"message": {target[0]: target[1], "data": {"k": "v" * limit}}}
        assert judged(exact) is None
        assert judged(over) == f"Message payload is too big: {limit + 1} bytes, at most {limit} are allowed."
