"""Where a user is: language tags by BCP 47 and the CLDR's names, time zones by the IANA database.

In: what a device says of itself. Out: the tag in its canonical case, the zone as it is. Refuses others.
"""

import re
from difflib import get_close_matches
from functools import cache, lru_cache
from importlib.resources import files
from typing import Final

from babel import Locale
from babel.core import get_global

from tocsin.terms.errors import Refused

# RFC 5646 section 2.1, without the irregular and grandfathered tags, which no device reports
_TAG: Final = re.compile(
    r"(?P<language>[a-z]{2,3})"
    r"(?:-(?P<script>[a-z]{4}))?"
    r"(?:-(?P<region>[a-z]{2}|[0-9]{3}))?"
    r"(?P<variants>(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*)"
    r"(?P<extensions>(?:-[a-wy-z0-9](?:-[a-z0-9]{2,8})+)*(?:-x(?:-[a-z0-9]{1,8})+)?)",
    re.IGNORECASE | re.ASCII,
)
LONGEST_TAG: Final = 100


@cache
def _names() -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """The languages, scripts and regions that the CLDR knows, old names of languages included."""
    english = Locale("en")
    languages = frozenset(english.languages) | frozenset(get_global("language_aliases"))
    return languages, frozenset(english.scripts), frozenset(english.territories)


@lru_cache(maxsize=2048)
def locale(tag: str) -> str:
    """A language tag in canonical case, such as `zh-Hant-TW`; raises Refused with unknown_locale."""
    parts = _TAG.fullmatch(tag) if len(tag) <= LONGEST_TAG else None
    if parts is None:
        hyphened = tag.replace("_", "-")
        suggestion = hyphened if hyphened != tag and _TAG.fullmatch(hyphened) else None
        raise Refused("unknown_locale", "This is not a BCP 47 language tag, such as pt-BR.", "/locale", suggestion)
    languages, scripts, regions = _names()
    language, script, region = parts["language"].lower(), parts["script"], parts["region"]
    if language not in languages:
        raise Refused("unknown_locale", f"There is no language {language!r}.", "/locale")
    tag = language
    if script is not None:
        if script.title() not in scripts:
            raise Refused("unknown_locale", f"There is no script {script!r}.", "/locale")
        tag += f"-{script.title()}"
    if region is not None:
        if region.upper() not in regions:
            raise Refused("unknown_locale", f"There is no country or region {region!r}.", "/locale")
        tag += f"-{region.upper()}"
    return tag + parts["variants"].lower() + parts["extensions"].lower()


@cache
def _zones() -> frozenset[str]:
    """The zones and links of the IANA database that is installed with Tocsin."""
    listed = files("tzdata").joinpath("zones").read_text("utf-8").split()
    return frozenset(listed) - {"Factory"}


def timezone(name: str) -> str:
    """A zone of the IANA database, exactly as it is spelt there; raises Refused with unknown_timezone."""
    if name in _zones():
        return name
    known = {zone.lower(): zone for zone in _zones()}
    spelt = name[:64].lower().replace(" ", "_")
    close = [spelt] if spelt in known else get_close_matches(spelt, known, n=1, cutoff=0.75)
    suggestion = known[close[0]] if close else None
    raise Refused("unknown_timezone", "The IANA database has no such time zone.", "/timezone", suggestion)
