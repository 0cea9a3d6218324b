"""The limits in force for a credential: the published ones, or for a test app those its lab account declares.

A live app always gets what the provider publishes, whatever its credential says.
"""

import math
from collections.abc import Mapping
from typing import Any

from tocsin.providers.base import BadCredential, Credential, Limits, RetryFloors
from tocsin.terms.outcomes import Mode


def in_force(credential: Credential, published: Limits) -> Limits:
    """The limits for this credential; raises BadCredential if a test app's declaration cannot be read."""
    if credential.mode is not Mode.TEST:
        return published
    return Limits(published.payload, published.ttl_max, declared(credential.secret, published.floors))


def declared(secret: Mapping[str, Any], published: RetryFloors) -> RetryFloors:
    """The floors in `secret["lab"]["retry_floors"]`, each optional, in seconds; raises BadCredential if one is odd."""
    lab = secret.get("lab", {})
    floors = lab.get("retry_floors", {}) if isinstance(lab, Mapping) else None
    if not isinstance(floors, Mapping):
        raise BadCredential('lab.retry_floors must be an object such as {"throttled": 1, "transient": 0.5}')
    return RetryFloors(
        throttled=_wait(floors, "throttled", published.throttled),
        transient=_wait(floors, "transient", published.transient),
    )


def _wait(floors: Mapping[str, Any], name: str, published: float) -> float:
    value = floors.get(name, published)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise BadCredential(f"lab.retry_floors.{name} must be a number of seconds, 0 or more")
    return float(value)
