"""What the platform says about itself: logs now, metrics and traces beside them later; names typed once.

In: events with their ids. Out: one line each. It refuses to write a secret: keys, tokens and passwords are masked.
"""
