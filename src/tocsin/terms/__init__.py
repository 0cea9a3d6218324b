"""The vocabulary: ids, handoffs, outcomes, errors and the clock.

Types and tables only. It imports nothing of Tocsin and everything of Tocsin may import it.
"""
