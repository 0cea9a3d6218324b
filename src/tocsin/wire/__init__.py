"""How bytes leave the house: the HTTP/2 push engine, and the guard for every address a tenant supplies.

In: batches of calls. Out: for every call exactly one ending — answered, unsent (safe to resend) or ambiguous.
Refuses: addresses that are not on the public internet, unless wiring trusts that very origin.
"""
