"""Ledger: the step `record`. In: what became of devices. Out: exactly one end for each, readable and explained.

Keeps runs, batches, deliveries, attempts and receipts. Refuses a second end of a delivery and the word of anybody who
no longer holds a batch.
"""

from tocsin.ledger.book import LedgerBook
from tocsin.ledger.routes import routes
from tocsin.ledger.watch import LedgerWatch

__all__ = ["LedgerBook", "LedgerWatch", "routes"]
