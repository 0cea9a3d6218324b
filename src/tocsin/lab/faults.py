"""Faults injected by control: rules with a name, a match and a seeded die, and counters of what was really injected.

Takes rules as JSON objects; refuses unknown members, kinds and values out of range with the member's name. Gives the
rule that strikes a request, or none.
"""

import math
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KINDS = {
    "cut": "the request is taken and its answer lost",
    "cut_connection": "the request is taken and its whole connection broken, with all that was in flight on it",
    "error": "500, not taken",
    "unavailable": "503, not taken; Retry-After if `retry_after` is given",
    "throttle": "429, not taken; Retry-After if `retry_after` is given",
    "silence": "the request is taken and never answered",
    "latency": "the answer takes `latency_ms` longer",
    "goaway": "the connection goes away before this request (HTTP/2 only)",
    "refuse": "the stream is refused, not taken (HTTP/2 only)",
}
TAKING = frozenset({"cut", "cut_connection", "silence", "latency"})
"""Kinds that let the provider do its work first."""
_ONLY_H2 = frozenset({"goaway", "refuse"})
PROVIDERS = ("fcm", "webpush", "oauth")


class BadRule(ValueError):
    """The rule cannot be one; the text names the member and what it may be."""


@dataclass(slots=True)
class Rule:
    """One rule. `left` counts down to 0 (None: no end); the window is in seconds of the event loop's clock."""

    name: str
    kind: str
    provider: str | None
    probability: float
    left: int | None
    opens: float
    closes: float
    retry_after: int | None
    latency_ms: tuple[float, float]
    die: random.Random
    seed: int
    injected: int = 0

    def shown(self) -> dict[str, Any]:
        """The rule as control shows it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "provider": self.provider,
            "probability": self.probability,
            "left": self.left,
            "retry_after": self.retry_after,
            "latency_ms": list(self.latency_ms),
            "seed": self.seed,
            "injected": self.injected,
        }

    def extra_delay(self) -> float:
        """Seconds that a latency rule adds."""
        return self.die.uniform(*self.latency_ms) / 1000


def _number(given: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise BadRule(f"{name}: expected a number from {low:g} to {high:g}")
    return float(value)


def _whole(given: Mapping[str, Any], name: str, low: int, high: int) -> int | None:
    value = given.get(name)
    if value is None:
        return None
    if type(value) is not int or not low <= value <= high:
        raise BadRule(f"{name}: expected a whole number from {low} to {high}")
    return value


def _latency(given: Mapping[str, Any]) -> tuple[float, float]:
    value = given.get("latency_ms", [0, 0])
    match value:
        case [int() | float() as low, int() | float() as high] if 0 <= low <= high <= 120_000:
            return float(low), float(high)
    raise BadRule("latency_ms: expected [least, most] in milliseconds, at most 120000")


_WORDS = "name kind provider probability count after_seconds for_seconds retry_after latency_ms seed"
_MEMBERS = frozenset(_WORDS.split())


def read_rule(given: Any, now: float, number: int) -> Rule:
    """A rule from JSON; `now` is the loop's clock, `number` names a rule that has no name. Raises BadRule."""
    if not isinstance(given, dict):
        raise BadRule("a rule is an object")
    unknown = sorted(set(given) - _MEMBERS)
    if unknown:
        raise BadRule(f"{unknown[0]}: no such member; a rule has {', '.join(sorted(_MEMBERS))}")
    kind = given.get("kind")
    if kind not in KINDS:
        raise BadRule(f"kind: expected one of {', '.join(KINDS)}")
    provider = given.get("provider")
    if provider is not None and provider not in PROVIDERS:
        raise BadRule(f"provider: expected one of {', '.join(PROVIDERS)}, or none for all")
    name = given.get("name", f"{kind}-{number}")
    if not isinstance(name, str) or not 1 <= len(name) <= 64:
        raise BadRule("name: expected a text of 1 to 64 characters")
    seed = _whole(given, "seed", 0, 2**63) or 0
    opens = now + _number(given, "after_seconds", 0, 0, 86_400)
    lasts = _number(given, "for_seconds", 86_400, 0, 86_400) if given.get("for_seconds") is not None else math.inf
    return Rule(
        name=name,
        kind=kind,
        provider=provider,
        probability=_number(given, "probability", 1, 0, 1),
        left=_whole(given, "count", 1, 10**9),
        opens=opens,
        closes=opens + lasts,
        retry_after=_whole(given, "retry_after", 0, 3600),
        latency_ms=_latency(given),
        die=random.Random(seed),  # noqa: S311 - a fault must come again with the same seed
        seed=seed,
    )


@dataclass(slots=True)
class Faults:
    """The rules in force, in the order they came."""

    rules: list[Rule] = field(default_factory=list)
    injected: Counter[str] = field(default_factory=Counter)
    _number: int = 0

    def add(self, given: Any, now: float) -> Rule:
        """Put a rule in force, in place of one of the same name; raises BadRule."""
        self._number += 1
        rule = read_rule(given, now, self._number)
        self.rules = [other for other in self.rules if other.name != rule.name]
        self.rules.append(rule)
        return rule

    def remove(self, name: str | None) -> int:
        """Take rules out of force, all or the one of this name; gives how many."""
        before = len(self.rules)
        self.rules = [rule for rule in self.rules if name is not None and rule.name != name]
        return before - len(self.rules)

    def strike(self, provider: str, h2: bool, now: float) -> Rule | None:
        """The rule that strikes this request, already counted down and counted; None if none does."""
        for rule in self.rules:
            if (
                (rule.provider is not None and rule.provider != provider)
                or rule.left == 0
                or not rule.opens <= now < rule.closes
                or (rule.kind in _ONLY_H2 and not h2)
                or rule.die.random() >= rule.probability
            ):
                continue
            if rule.left is not None:
                rule.left -= 1
            rule.injected += 1
            self.injected[rule.kind] += 1
            return rule
        return None
