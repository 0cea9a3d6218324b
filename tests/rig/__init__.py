"""The rig: starts the platform as its user would, acts as a client that writes down every reply, and kills processes.

It reaches the platform through its command line, its API and the lab's control, and reads the database. It patches
nothing.
"""
