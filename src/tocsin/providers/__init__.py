"""The vendors that reach devices: `base` is the contract, each folder beside it one provider with the same file names.

A provider sees no room and no other provider; credentials reach it as values.
"""
