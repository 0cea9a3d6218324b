"""Tocsin: one call in, every device of the audience reached, every delivery ending in exactly one outcome.

The rooms, in order of travel: intake, audience, schedule, content, dispatch, ledger. `journey.py` is the map.
"""

__version__ = "0.1.0"
