"""How work travels: the lanes, the runner that owns every transaction and handoff, the keeper that loses nothing.

It knows no room: what the rooms do is handed in by wiring.
"""
