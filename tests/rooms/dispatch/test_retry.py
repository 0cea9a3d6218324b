"""What a verdict means for a delivery, whatever the numbers."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tocsin.dispatch.retry import MOST_TRIES, Policy
from tocsin.providers import base
from tocsin.providers.base import RetryFloors
from tocsin.terms import ids
from tocsin.terms.batches import Attempt, End, Retry
from tocsin.terms.outcomes import OnAmbiguity, State

FLOORS = RetryFloors(throttled=60.0, transient=10.0)
DEVICE = ids.new()


def policy(tries: int = 0, on_ambiguity: OnAmbiguity = OnAmbiguity.RESEND, failures: int = 0, seed: int = 1) -> Policy:
    return Policy(tries, FLOORS, on_ambiguity, failures, random.Random(seed))


@pytest.mark.parametrize(
    ("verdict", "state", "code"),
    [
        (base.Taken("projects/p/messages/1"), State.SENT, "accepted"),
        (base.Refused("invalid_payload", "INVALID_ARGUMENT"), State.REJECTED, "invalid_payload"),
        (base.DeadToken("UNREGISTERED"), State.REJECTED, "unregistered"),
    ],
)
def test_what_the_provider_has_decided_is_the_end(verdict, state, code):
    fate = policy().fate(DEVICE, verdict)
    assert isinstance(fate, End)
    assert (fate.device_id, fate.state, fate.code, fate.attempt) == (DEVICE, state, code, None)


verdicts = some.one_of(
    some.builds(base.Throttled, some.just("QUOTA"), some.none() | some.floats(0, 3600)),
    some.builds(base.Transient, some.just("UNAVAILABLE"), some.none() | some.floats(0, 3600)),
)


@given(verdict=verdicts, tries=some.integers(0, MOST_TRIES - 2), seed=some.integers())
def test_a_retry_comes_neither_before_the_provider_asked_nor_below_its_floor(verdict, tries, seed):
    fate = policy(tries, seed=seed).fate(DEVICE, verdict)
    floor = FLOORS.throttled if isinstance(verdict, base.Throttled) else FLOORS.transient
    assert isinstance(fate, Retry)
    assert fate.delay >= floor
    assert verdict.after is None or fate.delay > verdict.after
    assert fate.spent


@given(tries=some.integers(0, MOST_TRIES - 2), seed=some.integers())
def test_backoff_doubles_up_to_a_bound_and_scatters(tries, seed):
    fate = policy(tries, seed=seed).fate(DEVICE, base.Transient("INTERNAL"))
    bound = max(10.0, min(10.0 * 2**tries, 600.0))
    assert isinstance(fate, Retry)
    assert bound <= fate.delay <= 1.5 * bound


def test_devices_of_a_batch_that_wait_for_the_same_reason_wait_for_the_same_time():
    one = policy()
    fates = [one.fate(ids.new(), base.Transient("INTERNAL")) for _ in range(50)]
    delays = {fate.delay for fate in fates if isinstance(fate, Retry)}
    assert len(delays) == 1


@pytest.mark.parametrize("verdict", [base.Throttled("Q"), base.Transient("I"), base.Unknown("cut_off")])
def test_when_the_tries_are_used_up_the_delivery_has_failed(verdict):
    fate = policy(MOST_TRIES - 1).fate(DEVICE, verdict)
    assert isinstance(fate, End)
    assert (fate.state, fate.code) == (State.FAILED, "retries_exhausted")
    assert fate.attempt is not None


@pytest.mark.parametrize("code", ["cut_off", "timed_out"])
def test_an_unknown_outcome_is_an_ambiguous_attempt_and_the_caller_says_what_follows(code):
    again = policy().fate(DEVICE, base.Unknown(code))
    assert isinstance(again, Retry)
    assert again.attempt == Attempt("ambiguous", code, None)
    assert again.delay >= FLOORS.transient
    dropped = policy(on_ambiguity=OnAmbiguity.DROP).fate(DEVICE, base.Unknown(code))
    assert isinstance(dropped, End)
    assert (dropped.state, dropped.code, dropped.attempt) == (
        State.FAILED,
        "unknown_outcome",
        Attempt("ambiguous", code, None),
    )


def test_what_never_left_costs_no_try():
    fate = policy(3).fate(DEVICE, base.NotSent("no_connection"))
    assert isinstance(fate, Retry)
    assert not fate.spent
    assert fate.attempt == Attempt("unsent", "provider_unreachable", "no_connection")


@pytest.mark.parametrize(("failures", "bound"), [(0, 10.0), (1, 20.0), (3, 80.0), (30, 600.0)])
def test_a_refused_credential_is_probed_ever_later_and_costs_no_try(failures, bound):
    one = policy(failures=failures)
    fate = one.fate(DEVICE, base.CredentialFault("401"))
    assert isinstance(fate, Retry)
    assert not fate.spent
    assert fate.delay == one.probe_delay()
    assert bound <= fate.delay <= 1.5 * bound
