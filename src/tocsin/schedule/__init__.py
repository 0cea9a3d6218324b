"""Schedule: the step `plan`. In: a page of the audience. Out: batches with a due time, and what ends at once.

Refuses, as an end with its reason, a device whose provider the app has no credential for.
"""

from tocsin.schedule.plan import plan

__all__ = ["plan"]
