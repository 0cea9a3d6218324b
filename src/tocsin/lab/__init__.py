"""The lab: FCM, its OAuth endpoint and Web Push, simulated over real TLS by a process of its own.

Takes requests of the real protocols on one port; on another it is controlled, and a real Firefox subscribes and
receives. Writes every request that arrived whole to a ledger on disk before it is answered. What it refuses is what
the providers refuse; what goes wrong on purpose is told by magic tokens and by control.
"""

from tocsin.lab.main import CannotStart, run, serve
from tocsin.lab.tokens import Row, make, rows

__all__ = ["CannotStart", "Row", "make", "rows", "run", "serve"]
