"""The checker: a program that compares three ledgers, written without the product.

In: the client's reply log, the database through a reading role, the lab's ledger. Out: violations, the first with its
full history, and a verdict. It imports nothing of what it judges.
"""
