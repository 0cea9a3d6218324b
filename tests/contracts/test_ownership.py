"""A token has one owner, and nobody is sent what was planned for another: against PostgreSQL, in any order, at once."""

import asyncio
import random
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tocsin import audience
from tocsin.audience import devices
from tocsin.audience.devices import Registration
from tocsin.terms import ids
from tocsin.terms.clock import SystemClock
from tocsin.terms.handoffs import Accepted, Addressed, Learned, Options, Page, ReturnsHint, Target
from tocsin.terms.outcomes import Class, OnAmbiguity

NAMES, TOKENS, USERS = ["a", "b", "c", "d"], ["t1", "t2", "t3"], ["u1", "u2", None]


def one(name, token, user=None, **more):
    return Registration(name, "fcm", "production", token, None, user, None, None, more)


def accepted(app_id, target):
    options = Options(3600, "normal", None, OnAmbiguity.RESEND, Class.NOW)
    now = SystemClock().now()
    return Accepted(app_id, ids.new(), target, options, now, now)


class Known(NamedTuple):
    """What the model holds of a device. `binding` changes when its owner or token does; `life` with its token."""

    device_id: UUID
    token: str | None
    user: str | None
    state: str
    binding: object
    version: int


class Plan(NamedTuple):
    planned_at: Any
    targets: dict[UUID, Known]


class Ownership(RuleBasedStateMachine):
    """The room against a model of it in twenty lines."""

    database: Any
    loop: asyncio.AbstractEventLoop
    plans = Bundle("plans")
    hints = Bundle("hints")

    def __init__(self):
        super().__init__()
        self.app_id = ids.new()
        self.model: dict[str, Known] = {}

    def run(self, work):
        async def scoped():
            async with self.database.scope(self.app_id) as tx:
                return await work(tx)

        return asyncio.run_coroutine_threadsafe(scoped(), self.loop).result(20)

    def rows(self):
        return self.run(lambda tx: tx.fetch("select * from audience.devices"))

    @rule(
        lines=st.lists(
            st.tuples(st.sampled_from(NAMES), st.sampled_from(TOKENS), st.sampled_from(USERS)), min_size=1, max_size=4
        )
    )
    def register(self, lines):
        created = self.run(lambda tx: devices.register(tx, self.app_id, [one(*line) for line in lines]))
        assert {name for name, new in created.items() if new} == {line[0] for line in lines} - set(self.model)
        last = {name: (number, token, user) for number, (name, token, user) in enumerate(lines)}
        found = {row["external_id"]: row for row in self.rows()}
        owner = {token: name for name, (_, token, _) in sorted(last.items(), key=lambda item: item[1])}
        for name, before in list(self.model.items()):
            if name not in last and before.token in owner:
                self.model[name] = before._replace(token=None, state="superseded", binding=object())
        for name, (_, token, user) in last.items():
            known, row = self.model.get(name), found[name]
            held = token if owner[token] == name else None
            same = known is not None and known.token == held and known.user == user
            self.model[name] = Known(
                row["device_id"],
                held,
                user,
                "active" if held else "superseded",
                known.binding if same and known else object(),
                row["token_version"],
            )
            if known is not None and held:
                renewed = known.token != held or known.state == "dead"
                assert (row["token_version"] > known.version) == renewed

    @rule(name=st.sampled_from(NAMES))
    def log_out(self, name):
        found = self.run(lambda tx: devices.logout(tx, self.app_id, name))
        assert (found is None) == (name not in self.model)
        if found is not None:
            before = self.model[name]
            state = "logged_out" if before.state == "active" else before.state
            self.model[name] = before._replace(user=None, state=state, binding=object())

    @rule(name=st.sampled_from(NAMES))
    def delete(self, name):
        assert self.run(lambda tx: devices.delete(tx, self.app_id, name)) == (name in self.model)
        self.model.pop(name, None)

    @rule(target=hints)
    def learn(self):
        return [Learned(known.device_id, known.version, None) for known in self.model.values()]

    @rule(hint=hints)
    def forget(self, hint):
        dead = self.run(lambda tx: audience.forget(tx, ReturnsHint(self.app_id, hint)))
        struck = [
            name
            for name, known in self.model.items()
            if known.state == "active" and any(each[:2] == (known.device_id, known.version) for each in hint)
        ]
        for name in struck:
            self.model[name] = self.model[name]._replace(state="dead")
        assert dead == len(struck)

    @rule(target=plans, users=st.sets(st.sampled_from(USERS[:2])), names=st.sets(st.sampled_from(NAMES)))
    def plan(self, users, names):
        async def work(tx):
            upper = await audience.newest(tx, self.app_id)
            aim = Target(users=tuple(users), devices=tuple(names))
            page = await audience.address(tx, accepted(self.app_id, aim), None, upper, 100)
            return await tx.fetchval("select now()"), [device.device_id for device in page.devices]

        planned_at, found = self.run(work)
        aimed = [known for name, known in self.model.items() if known.user in users or name in names]
        targets = {known.device_id: known for known in aimed if known.state == "active"}
        assert found == sorted(targets)
        return Plan(planned_at, targets)

    @rule(plan=plans)
    def reach(self, plan):
        device_ids = random.sample(list(plan.targets), len(plan.targets))
        reached, unreached = self.run(lambda tx: audience.reach(tx, self.app_id, device_ids, plan.planned_at))
        now = {known.device_id: known for known in self.model.values()}
        expected = []
        for device_id in device_ids:
            current, then = now.get(device_id), plan.targets[device_id]
            if current is None:
                expected.append((device_id, "device_deleted"))
            elif current.binding is not then.binding:
                expected.append((device_id, "moved"))
            elif current.state == "dead":
                expected.append((device_id, "dead_token"))
        assert [tuple(each) for each in unreached] == expected
        assert [each.device_id for each in reached] == [each for each in device_ids if each not in dict(expected)]
        for each in reached:
            assert each.token == plan.targets[each.device_id].token
            assert each.token_version == now[each.device_id].version

    @invariant()
    def the_rows_are_as_the_model_has_them(self):
        rows = self.rows()
        found = {row["external_id"]: (row["token"], row["user_id"], row["state"]) for row in rows}
        assert found == {name: (known.token, known.user, known.state) for name, known in self.model.items()}
        owned = [row["token_hash"] for row in rows if row["token_hash"] is not None]
        assert len(owned) == len(set(owned))


async def test_a_token_has_one_owner_and_no_message_reaches_another_whatever_happens(database):
    machine = type("Bound", (Ownership,), {"database": database, "loop": asyncio.get_running_loop()})
    profile = settings(
        max_examples=20, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    await asyncio.to_thread(run_state_machine_as_test, machine, settings=profile)


async def test_registrations_at_once_neither_deadlock_nor_leave_two_owners(database):
    app_id, chance = ids.new(), random.Random(7)
    names, tokens = [f"device-{n}" for n in range(12)], [f"token-{n}" for n in range(8)]

    async def act():
        what = chance.random()
        async with database.scope(app_id) as tx:
            if what < 0.4:
                await devices.register(tx, app_id, [one(chance.choice(names), chance.choice(tokens), "u1")])
            elif what < 0.7:
                chunk = [
                    one(chance.choice(names), chance.choice(tokens), "u2", n=1) for _ in range(chance.randint(2, 9))
                ]
                await devices.register(tx, app_id, chunk)
            elif what < 0.75:
                await devices.logout(tx, app_id, chance.choice(names))
            elif what < 0.8:
                await devices.delete(tx, app_id, chance.choice(names))
            elif what < 0.9:
                rows = await tx.fetch("select device_id, token_version from audience.devices order by random()")
                await audience.forget(tx, ReturnsHint(app_id, [Learned(row[0], row[1], None) for row in rows]))
            else:
                upper = await audience.newest(tx, app_id)
                await audience.address(tx, accepted(app_id, Target(users=("u1", "u2"))), None, upper, 100)

    async def worker():
        for _ in range(60):
            await act()
            async with database.scope(app_id) as tx:
                owned = [row[0] for row in await tx.fetch("select token from audience.devices where token is not null")]
                assert len(owned) == len(set(owned))

    await asyncio.gather(*(worker() for _ in range(8)))


async def test_an_owner_cannot_change_between_being_read_and_being_planned(database):
    app_id = ids.new()
    async with database.scope(app_id) as tx:
        await devices.register(tx, app_id, [one("phone", "t", "old")])

    async def hand_over():
        async with database.scope(app_id) as tx:
            await tx.fetchval("select now()")  # it begins before the plan, and ends after it
            began.set()
            await planned.wait()
            await devices.register(tx, app_id, [one("phone", "t", "new")])

    began, planned = asyncio.Event(), asyncio.Event()
    handing_over = asyncio.create_task(hand_over())
    await began.wait()
    async with database.scope(app_id) as tx:
        upper = await audience.newest(tx, app_id)
        page = await audience.address(tx, accepted(app_id, Target(users=("old",))), None, upper, 10)
        planned.set()
        await asyncio.wait({handing_over}, timeout=0.2)
        assert not handing_over.done(), "it waits for the plan"
        planned_at = await tx.fetchval("select clock_timestamp()")
    await handing_over
    async with database.scope(app_id) as tx:
        device_id = page.devices[0].device_id
        assert await audience.reach(tx, app_id, [device_id], planned_at) == ([], [(device_id, "moved")])


async def test_a_plan_waits_for_a_change_of_owner_and_sees_it(database):
    app_id = ids.new()
    async with database.scope(app_id) as tx:
        await devices.register(tx, app_id, [one("phone", "t", "old")])

    async def plan():
        async with database.scope(app_id) as tx:
            upper = await audience.newest(tx, app_id)
            return await audience.address(tx, accepted(app_id, Target(users=("old",))), None, upper, 10)

    async with database.scope(app_id) as tx:
        await devices.register(tx, app_id, [one("phone", "t", "new")])
        planning = asyncio.create_task(plan())
        await asyncio.wait({planning}, timeout=0.2)
        assert not planning.done()
    assert await planning == Page([], None)


@pytest.mark.parametrize("target", [Target(all=True), Target(users=("u",)), Target(devices=tuple("abcdefg"))])
async def test_pages_follow_each_other_in_order_and_end_when_there_is_no_more(database, target):
    app_id = ids.new()
    async with database.scope(app_id) as tx:
        await devices.register(tx, app_id, [one(name, f"t-{name}", "u") for name in "abcdef"])
        upper = await audience.newest(tx, app_id)
        await devices.register(tx, app_id, [one("g", "t-g", "u")])
        cursor: UUID | None = None
        found: list[Addressed] = []
        sizes: list[int] = []
        while True:
            page = await audience.address(tx, accepted(app_id, target), cursor, upper, 2)
            found += page.devices
            sizes.append(len(page.devices))
            if (cursor := page.cursor) is None:
                break
        names = await audience.names(tx, app_id, [device.device_id for device in found])
    assert sizes == [2, 2, 2], "the last page knows that it is the last"
    assert found == sorted(found)
    assert [names[device.device_id] for device in found] == list("abcdef"), "a device newer than the bound is left out"


async def test_a_device_named_twice_is_addressed_once(database):
    app_id = ids.new()
    async with database.scope(app_id) as tx:
        await devices.register(tx, app_id, [one("a", "t1", "u"), one("b", "t2", "u")])
        upper = await audience.newest(tx, app_id)
        aim = Target(users=("u", "u", "nobody"), devices=("a", "a", "nothing"))
        page = await audience.address(tx, accepted(app_id, aim), None, upper, 10)
    assert len(page.devices) == 2
    assert all(isinstance(device, Addressed) and device.provider == "fcm" for device in page.devices)


async def test_where_there_was_no_device_there_is_nobody_to_address(database):
    app_id = ids.new()
    async with database.scope(app_id) as tx:
        upper = await audience.newest(tx, app_id)
        assert upper is None
        await devices.register(tx, app_id, [one("a", "t1", "u")])
        assert await audience.address(tx, accepted(app_id, Target(all=True)), None, upper, 10) == Page([], None)


async def test_a_token_set_after_the_provider_gave_it_up_stays(database):
    app_id = ids.new()
    async with database.scope(app_id) as tx:
        before = await tx.fetchval("select clock_timestamp()")
        await devices.register(tx, app_id, [one("a", "t1", "u")])
        device = await devices.get(tx, app_id, "a")
        assert device is not None
        hint = ReturnsHint(app_id, [Learned(device.device_id, 1, before)])
        assert await audience.forget(tx, hint) == 0
        later = await tx.fetchval("select clock_timestamp()")
        hint = ReturnsHint(app_id, [Learned(device.device_id, 1, later)])
        assert await audience.forget(tx, hint) == 1
        assert await audience.forget(tx, ReturnsHint(app_id, [])) == 0


async def test_other_rooms_learn_which_devices_exist_and_their_names(database):
    app_id = ids.new()
    async with database.scope(app_id) as tx:
        await devices.register(tx, app_id, [one("a", "t1"), one("b", "t2")])
        device = await devices.get(tx, app_id, "a")
        assert device is not None
        assert await audience.unknown(tx, app_id, ["a", "b", "x", "x"]) == {"x"}
        assert await audience.unknown(tx, app_id, []) == set()
        assert await audience.names(tx, app_id, [device.device_id, ids.new()]) == {device.device_id: "a"}
        assert await audience.names(tx, app_id, []) == {}


async def test_a_subscription_with_new_keys_is_a_new_token(database):
    app_id = ids.new()
    async with database.scope(app_id) as tx:
        for auth, version in (("x", 1), ("x", 1), ("y", 2)):
            keys = {"p256dh": "k", "auth": auth}
            await devices.register(
                tx, app_id, [one("a", "https://push.example/1")._replace(provider="webpush", keys=keys)]
            )
            upper = await audience.newest(tx, app_id)
            assert upper is not None
            reached, _ = await audience.reach(tx, app_id, [upper], await tx.fetchval("select clock_timestamp()"))
            assert (reached[0].keys, reached[0].token_version) == (keys, version)
