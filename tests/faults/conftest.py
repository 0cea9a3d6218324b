"""Fault tests share the platform of the session unless they start one of their own."""

from tests.rig.fixtures import caller, client_log, other_caller, platform

__all__ = ["caller", "client_log", "other_caller", "platform"]
