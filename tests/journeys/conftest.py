"""Journeys run on one platform that is started for the session."""

from tests.rig.fixtures import caller, client_log, other_caller, platform

__all__ = ["caller", "client_log", "other_caller", "platform"]
