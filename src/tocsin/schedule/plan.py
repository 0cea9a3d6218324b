"""The step `plan`: a page of devices becomes batches, each through one credential and sorted by device."""

from tocsin.storage import Tx
from tocsin.tenants import active_credentials
from tocsin.terms.handoffs import BATCH_SIZE, Accepted, Addressed, Draft, Ended, Page, Plan
from tocsin.terms.outcomes import State


async def plan(tx: Tx, accepted: Accepted, page: Page) -> Plan:
    """Group the page by provider and cut it into batches that are due now."""
    credentials = await active_credentials(tx, accepted.app_id)
    groups: dict[str, list[Addressed]] = {}
    for device in page.devices:
        groups.setdefault(device.provider, []).append(device)
    drafts = []
    ended = []
    for provider, devices in groups.items():
        credential_id = credentials.get(provider)
        if credential_id is None:
            ended += [Ended(one.device_id, provider, State.FAILED, "no_credential") for one in devices]
            continue
        ids = [one.device_id for one in devices]
        drafts += [
            Draft(credential_id, provider, ids[start : start + BATCH_SIZE], 0.0)
            for start in range(0, len(ids), BATCH_SIZE)
        ]
    return Plan(drafts, ended)
