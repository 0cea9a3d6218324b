"""The checker on small ledgers: one that agrees, and that one spoilt in every way it must notice."""

from collections.abc import Callable

import pytest
from tests.checker.evidence import Arrival, Attempt, Batch, Change, Device, Reading
from tests.checker.rules import KINDS
from tests.rooms.checker.ledgers import APP, NOTE, START, Ledgers, agreeing, arrival, pair, request

OTHER = bytes([9]) * 16


def forget_a_terminal_row(run: Ledgers) -> None:
    del run.database.rows[pair("plain")]


def forget_a_device(run: Ledgers) -> None:
    del run.database.devices[APP, "plain"]


def forget_a_notification(run: Ledgers) -> None:
    run.client.requests.append(request(line=23, key="key-2", id=OTHER, to={"user": "nobody"}))


def send_what_nobody_asked_for(run: Ledgers) -> None:
    run.lab.arrivals[OTHER + pair("plain")[16:]] = [arrival(9, "plain")]


def accept_without_telling_the_client(run: Ledgers) -> None:
    run.client.requests.clear()


def send_to_someone_else(run: Ledgers) -> None:
    run.client.requests = [request(to={"user": "user-plain"})]


def send_a_second_copy(run: Ledgers) -> None:
    run.lab.arrivals[pair("plain")].append(arrival(9, "plain"))


def send_a_second_copy_of_an_ambiguous_one_too_many(run: Ledgers) -> None:
    run.lab.arrivals[pair("cut")].append(arrival(9, "cut"))


def end_twice(run: Ledgers) -> None:
    run.database.rows[pair("plain")] *= 2


def invent_a_success(run: Ledgers) -> None:
    del run.lab.arrivals[pair("plain")]


def count_a_cut_as_a_success(run: Ledgers) -> None:
    run.lab.arrivals[pair("cut")].pop()


def invent_a_refusal(run: Ledgers) -> None:
    del run.lab.arrivals[pair("dead")]


def deny_a_success(run: Ledgers) -> None:
    row = run.database.rows[pair("plain")][0]
    run.database.rows[pair("plain")] = [row._replace(state="failed", code="fault")]


def resend_although_told_to_drop(run: Ledgers) -> None:
    run.client.requests = [request(drop=True)]


def send_after_its_time(run: Ledgers) -> None:
    run.lab.arrivals[pair("plain")] = [arrival(1, "plain", at=START + 73)]


def ignore_retry_after(run: Ledgers) -> None:
    run.lab.arrivals[pair("slow")] = [arrival(3, "slow", 429, retry_after=60.0), arrival(6, "slow")]


def ignore_the_floor_of_a_429_without_a_time(run: Ledgers) -> None:
    again = arrival(6, "slow", at=START + 3.5)
    run.lab.arrivals[pair("slow")] = [arrival(3, "slow", 429), again]


def record_an_attempt_twice(run: Ledgers) -> None:
    run.database.attempts[pair("cut")] *= 2


def record_an_attempt_that_was_not(run: Ledgers) -> None:
    run.database.attempts[pair("slow")].append(Attempt(2, 1, "throttled", "throttled", START + 5))


def forget_an_attempt(run: Ledgers) -> None:
    del run.database.attempts[pair("slow")]


def send_to_a_strange_token(run: Ledgers) -> None:
    run.lab.arrivals[pair("plain")] = [arrival(1, "dead")]


def miscount_a_batch(run: Ledgers) -> None:
    batch = run.database.batches[NOTE][0]
    run.database.batches[NOTE] = [batch._replace(counts={**batch.counts, "sent": 5})]


def miscount_the_run(run: Ledgers) -> None:
    before = run.database.runs[NOTE]
    run.database.runs[NOTE] = before._replace(counts={"sent": 5, "rejected": 1})


def miscount_the_targets(run: Ledgers) -> None:
    run.database.runs[NOTE] = run.database.runs[NOTE]._replace(targeted=7)


def tell_the_client_other_counts(run: Ledgers) -> None:
    told = {"targeted": 6, "pending": 0, "sent": 6}
    run.client.readings = [Reading(22, START + 90, NOTE, "completed", told)]


def tell_the_client_that_some_are_pending(run: Ledgers) -> None:
    last = run.client.readings[-1]
    run.client.readings = [last._replace(progress={**last.progress, "pending": 1})]


def tell_the_client_another_status(run: Ledgers) -> None:
    run.client.readings = [run.client.readings[-1]._replace(status="cancelled")]


def leave_a_batch(run: Ledgers) -> None:
    run.database.batches[NOTE].append(Batch(2, 1, 1, False, {}))


def settle_a_batch_with_devices_in_it(run: Ledgers) -> None:
    batch = run.database.batches[NOTE][0]
    run.database.batches[NOTE] = [batch._replace(left=1)]


def never_end(run: Ledgers) -> None:
    run.database.runs[NOTE] = run.database.runs[NOTE]._replace(status="running")


def be_ambiguous_without_a_reason(run: Ledgers) -> None:
    run.client.kills.clear()


def answer_one_key_twice(run: Ledgers) -> None:
    run.client.requests.append(request(line=23, id=OTHER))


def leave_a_request_without_a_reply(run: Ledgers) -> None:
    run.client.requests.append(request(line=23, key="key-3", id=None, status=None))


SPOILT: dict[Callable[[Ledgers], None], str] = {
    forget_a_terminal_row: "lost",
    forget_a_device: "lost",
    forget_a_notification: "lost",
    send_what_nobody_asked_for: "phantom",
    accept_without_telling_the_client: "phantom",
    send_to_someone_else: "phantom",
    send_a_second_copy: "duplicate",
    send_a_second_copy_of_an_ambiguous_one_too_many: "duplicate",
    end_twice: "double_terminal",
    invent_a_success: "sent_unseen",
    count_a_cut_as_a_success: "sent_unseen",
    invent_a_refusal: "refused_unseen",
    deny_a_success: "seen_unsent",
    resend_although_told_to_drop: "dropped_twice",
    send_after_its_time: "late",
    ignore_retry_after: "early",
    ignore_the_floor_of_a_429_without_a_time: "early",
    record_an_attempt_twice: "attempt_twice",
    record_an_attempt_that_was_not: "attempt_twice",
    forget_an_attempt: "attempt_missing",
    send_to_a_strange_token: "misdelivered",
    miscount_a_batch: "counter",
    miscount_the_run: "counter",
    miscount_the_targets: "counter",
    tell_the_client_other_counts: "counter",
    tell_the_client_that_some_are_pending: "counter",
    tell_the_client_another_status: "counter",
    leave_a_batch: "unsettled",
    settle_a_batch_with_devices_in_it: "unsettled",
    never_end: "unsettled",
    be_ambiguous_without_a_reason: "ambiguity",
    answer_one_key_twice: "idempotence",
    leave_a_request_without_a_reply: "unresolved",
}


def test_three_ledgers_that_agree_have_no_violation():
    assert agreeing().violations() == []


@pytest.mark.parametrize(("spoil", "kind"), SPOILT.items(), ids=lambda each: getattr(each, "__name__", each))
def test_each_way_to_break_the_contract_is_noticed(spoil, kind):
    run = agreeing()
    spoil(run)
    assert kind in run.kinds()


def test_every_kind_of_violation_has_a_ledger_that_shows_it():
    assert set(SPOILT.values()) == set(KINDS)


def test_no_entry_of_any_ledger_can_be_taken_away_unnoticed():
    missed, run = [], agreeing()
    for place in range(len(run.client.changes)):
        spoilt = run.copy()
        del spoilt.client.changes[place]
        missed += [f"change {place}"] if not spoilt.violations() else []
    for key in run.database.rows:
        spoilt = run.copy()
        del spoilt.database.rows[key]
        missed += [f"row {key.hex()}"] if not spoilt.violations() else []
    for key in run.database.attempts:
        spoilt = run.copy()
        del spoilt.database.attempts[key]
        missed += [f"attempt {key.hex()}"] if not spoilt.violations() else []
    for key, arrivals in run.lab.arrivals.items():
        for place in range(len(arrivals)):
            spoilt = run.copy()
            del spoilt.lab.arrivals[key][place]
            # a killed worker's first copy may or may not have arrived: nothing else says so
            alike = key == pair("killed")
            missed += [f"arrival {key.hex()} {place}"] if not spoilt.violations() and not alike else []
    assert missed == []


def test_a_device_that_changes_while_its_notification_is_open_may_be_left_out():
    run = agreeing()
    run.client.changes.append(Change(21, START + 1, APP, "logout", "plain", None, None, None))
    del run.database.rows[pair("plain")]
    del run.lab.arrivals[pair("plain")]
    assert "lost" not in run.kinds()


def test_a_device_that_changes_after_the_end_is_still_owed_an_outcome():
    run = agreeing()
    run.client.changes.append(Change(23, START + 95, APP, "logout", "plain", None, None, None))
    del run.database.rows[pair("plain")]
    assert "lost" in run.kinds()


def test_a_device_not_planned_when_the_client_cancelled_was_never_a_target():
    run = agreeing()
    run.client.cancelled = {NOTE}
    del run.database.rows[pair("plain")]
    del run.lab.arrivals[pair("plain")]
    assert "lost" not in run.kinds()
    run.lab.arrivals[pair("plain")] = [arrival(1, "plain")]
    assert "phantom" in run.kinds()


def test_a_device_that_an_earlier_notification_found_dead_is_no_target():
    run = agreeing()
    earlier = request(line=10, at=START - 9, key="key-0", id=OTHER, to={"user": "nobody"})
    run.client.requests.insert(0, earlier)
    run.lab.arrivals[OTHER + pair("dead")[16:]] = [arrival(0, "dead", 404)]
    del run.database.rows[pair("dead")]
    del run.lab.arrivals[pair("dead")]
    assert not any(each.kind == "lost" and each.pair for each in run.violations())


def test_a_token_taken_over_by_another_device_takes_its_old_device_out_of_the_audience():
    run = agreeing()
    run.client.changes.append(Change(7, START, APP, "register", "plain-2", None, "fcm", "token-plain"))
    run.database.devices[APP, "plain-2"] = Device(bytes([99]) * 16, "active", START)
    assert {"phantom", "lost"} <= run.kinds()


def test_another_apps_deliveries_are_not_taken_for_phantoms():
    run = agreeing()
    run.database.owners[OTHER] = bytes([7]) * 16
    run.lab.arrivals[OTHER + pair("plain")[16:]] = [arrival(9, "plain")]
    assert run.violations() == []


def unread(n: int) -> Arrival:
    return arrival(n, "plain")


def test_messages_only_a_browser_can_read_are_counted_by_token():
    run = agreeing()
    run.lab.opaque["token-plain"] = run.lab.arrivals.pop(pair("plain"))
    assert run.violations() == []
    run.lab.opaque["token-plain"].append(unread(9))
    assert run.kinds() == {"duplicate"}
    run.lab.opaque["token-plain"] = [arrival(9, "plain", 500)]
    assert run.kinds() == {"sent_unseen"}
