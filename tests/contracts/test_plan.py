"""Planning: a page becomes batches of at most 500 devices, each through one credential."""

from datetime import UTC, datetime

from tocsin.schedule import plan
from tocsin.terms import ids
from tocsin.terms.handoffs import Accepted, Addressed, Ended, Options, Page, Target
from tocsin.terms.outcomes import Class, OnAmbiguity, State


async def test_a_page_is_cut_by_provider_and_size_and_what_has_no_credential_ends(database, demo_app):
    credentials = {"fcm": ids.new(), "webpush": ids.new()}
    async with database.scope(demo_app.app_id) as tx:
        for provider, credential_id in credentials.items():
            await tx.execute(
                "insert into tenants.credentials "
                "(app_id, credential_id, provider, name, mode, sealed, envelope_key_id) "
                "values ($1, $2, $3, 'x', 'test', '', 'k')",
                demo_app.app_id, credential_id, provider,
            )  # fmt: skip
    found = [Addressed(ids.new(), ("fcm", "fcm", "webpush", "pigeon")[i % 4]) for i in range(2000)]
    now = datetime.now(UTC)
    options = Options(60, "high", None, OnAmbiguity.RESEND, Class.BULK)
    accepted = Accepted(demo_app.app_id, ids.new(), Target(all=True), options, now, now)
    async with database.scope(demo_app.app_id) as tx:
        made = await plan(tx, accepted, Page(found, None))
    sizes = [(draft.provider, draft.credential_id, len(draft.device_ids)) for draft in made.drafts]
    assert sizes == [
        ("fcm", credentials["fcm"], 500),
        ("fcm", credentials["fcm"], 500),
        ("webpush", credentials["webpush"], 500),
    ]
    assert all(list(draft.device_ids) == sorted(draft.device_ids) for draft in made.drafts)
    pigeons = [one.device_id for one in found if one.provider == "pigeon"]
    assert list(made.ended) == [Ended(one, "pigeon", State.FAILED, "no_credential") for one in pigeons]
