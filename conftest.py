"""What holds for every test of the project: see tests/rig/policy.py."""

pytest_plugins = ("tests.rig.policy", "tests.rig.fixtures")
