"""The story of a delivery, in words."""

from datetime import UTC, datetime, timedelta

import pytest

from tocsin.ledger.story import Facts, tell
from tocsin.terms.errors import OUTCOMES
from tocsin.terms.ids import new

T0 = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
RUN = {"accepted_at": T0, "expires_at": T0 + timedelta(hours=1)}
BATCH = {"batch_no": 7, "n": 500, "planned_at": T0 + timedelta(seconds=1), "credential_id": new()}


def end(state="sent", code="accepted", attempts=1, **more):
    return {
        "state": state,
        "code": code,
        "attempts": attempts,
        "provider": "fcm",
        "provider_ref": None,
        "detail": None,
        "settled_at": T0 + timedelta(seconds=9),
        **more,
    }


def attempt(verdict, code, detail=None, again=True):
    due_at = T0 + timedelta(seconds=5) if again else None
    return {"at": T0 + timedelta(seconds=2), "verdict": verdict, "code": code, "detail": detail, "due_at": due_at}


def told(*, run=RUN, batch=BATCH, pending=None, ended=None, attempts=(), receipts=()):
    return tell(Facts(run, batch, pending, ended, list(attempts), list(receipts)))


def test_a_plain_success_is_told_in_three_sentences():
    story = told(ended=end(provider_ref="projects/p/messages/1"))
    assert [event.event for event in story] == ["accepted", "planned", "sent"]
    assert [event.text for event in story] == [
        "The notification was accepted. It may be delivered until 2026-11-23 10:00:00 UTC.",
        "The device was planned into batch 7 with 499 other devices, through fcm.",
        "fcm accepted it. Its name for it is projects/p/messages/1.",
    ]


@pytest.mark.parametrize(
    ("n", "words"), [(1, "batch 7, through"), (2, "batch 7 with one other, through"), (3, "with 2 other devices")]
)
def test_the_size_of_the_batch_is_said_in_good_english(n, words):
    assert words in told(batch=BATCH | {"n": n}, ended=end())[1].text


def test_a_receipt_is_the_last_word_even_if_it_was_faster_than_the_answer():
    early = {"kind": "opened", "at": T0 + timedelta(seconds=3)}
    assert told(ended=end(), receipts=[early])[-1] == (early["at"], "receipt", "The device reported: opened.")


def test_each_attempt_says_what_came_of_it():
    story = told(
        ended=end(attempts=3),
        attempts=[
            attempt("throttled", "throttled", "QUOTA_EXCEEDED"),
            attempt("ambiguous", "cut_off"),
            attempt("unsent", "provider_unreachable"),
        ],
    )
    words = [event.text for event in story if event.event == "attempt"]
    assert "The provider said: QUOTA_EXCEEDED." in words[0]
    assert "not before 09:00:05 UTC" in words[0]
    assert (
        "Nobody can know whether the provider took it. It may be sent again, so a second copy is possible." in words[1]
    )
    assert "It had not left, so nothing is doubled." in words[2]
    assert story[-1].text == "fcm accepted it after 3 attempts."


def test_an_unknown_outcome_that_is_dropped_is_said_to_be_so():
    story = told(ended=end("failed", "unknown_outcome"), attempts=[attempt("ambiguous", "timed_out", again=False)])
    assert "It is not sent again." in story[2].text
    assert "What to do: Send again if a second copy does less harm than none." in story[-1].text


def test_a_worker_that_died_is_ambiguous_and_may_be_sent_again():
    story = told(ended=end(), attempts=[attempt("ambiguous", "worker_lost", again=False)])
    assert "a second copy is possible" in story[2].text


def test_the_last_attempt_of_all_is_said_to_be_the_last():
    story = told(
        ended=end("failed", "retries_exhausted", 10, detail="UNAVAILABLE"),
        attempts=[attempt("transient", "provider_unavailable", again=False)],
    )
    assert "It was the last one." in story[2].text
    assert "The provider said: UNAVAILABLE." in story[-1].text
    assert "after 10 attempts" in story[-1].text


def test_a_device_that_planning_gave_up_on_was_never_sent_to():
    story = told(batch=BATCH | {"credential_id": None}, ended=end("failed", "no_credential", 0))
    assert "nothing to send" in story[1].text
    assert "tocsin credentials add" in story[-1].text


@pytest.mark.parametrize(
    ("begun_at", "words"), [(None, "waits in batch 8"), (T0 + timedelta(seconds=3), "A worker has begun it")]
)
def test_a_delivery_that_has_not_ended_says_what_it_waits_for(begun_at, words):
    pending = {"batch_no": 8, "provider": "fcm", "due_at": T0 + timedelta(seconds=4), "begun_at": begun_at}
    story = told(pending=pending)
    assert words in story[-1].text
    assert story[-1].event == "pending"


@pytest.mark.parametrize("row", OUTCOMES, ids=lambda row: row.code)
def test_every_code_can_be_told(row):
    ended = told(ended=end("failed", row.code))[-1]
    assert row.gloss in ended.text
    assert ("What to do" in ended.text) != row.fix.startswith("Nothing")
