"""What everybody needs to know of organisations: tenants, apps, API keys, and provider credentials under seal.

`organisations` makes and lists tenants, apps and keys; `keys` is the form of an API key; `credentials` seals, lists and
opens what a provider gave; `vault` is the envelope. Refuses ids that are not there with LookupError.
"""

from tocsin.tenants.credentials import (
    Opened,
    Sealed,
    active_credentials,
    credential,
    public_credential,
)
from tocsin.tenants.keys import BadKey, Found, find_key
from tocsin.tenants.vault import BadSeal, Keyring

__all__ = [
    "BadKey",
    "BadSeal",
    "Found",
    "Keyring",
    "Opened",
    "Sealed",
    "active_credentials",
    "credential",
    "find_key",
    "public_credential",
]
