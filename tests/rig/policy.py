"""The policy of the test runner: what may be skipped, what a folder means, and where the time went.

In: the run. Out: under CI=true a skipped peer or fault test is a failure; every test of tests/peers and tests/faults
carries its marker; at the end each suite's share of the time is printed.
"""

import os
from collections.abc import Generator
from pathlib import Path

import pytest

BY_FOLDER = {"peers": "peer", "faults": "fault", "journeys": "journey"}
NEVER_SKIPPED = {"peer", "fault"}
TESTS = Path(__file__).parents[1]


def suite(path: Path) -> str:
    """The suite of a test file: the folder under tests/ it lies in."""
    return path.relative_to(TESTS).parts[0] if path.is_relative_to(TESTS) else "other"


def gated() -> bool:
    """Whether this run gates a change (CI=true)."""
    return os.environ.get("CI") == "true"


def pytest_configure(config: pytest.Config) -> None:
    """Register what keeps the time."""
    config.pluginmanager.register(Shares(), "shares")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test the marker of its folder."""
    for item in items:
        if marker := BY_FOLDER.get(suite(item.path)):
            item.add_marker(marker)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skip of a test that must not be skipped is a failure with the skip's own reason."""
    report = yield
    if report.skipped and gated() and any(item.get_closest_marker(name) for name in NEVER_SKIPPED):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow here: {_reason(report)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A whole file that skips itself is no different."""
    report = yield
    if report.skipped and gated() and BY_FOLDER.get(suite(collector.path)) in NEVER_SKIPPED:
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow here: {_reason(report)}"
    return report


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    longrepr = report.longrepr
    return longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)


class Shares:
    """Adds up what each suite takes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One phase of one test has ended."""
        name = suite(TESTS.parent / report.nodeid.split("::", 1)[0])
        self.seconds[name] = self.seconds.get(name, 0.0) + report.duration

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the shares, largest first."""
        whole = sum(self.seconds.values())
        if whole < 1.0:
            return
        terminalreporter.section("time by suite")
        for name, seconds in sorted(self.seconds.items(), key=lambda pair: -pair[1]):
            terminalreporter.line(f"{name:14} {seconds:8.1f} s {seconds / whole:5.0%}")
