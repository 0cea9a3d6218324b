"""What a device says of its user's language and time zone."""

import pytest

from tocsin.audience import languages
from tocsin.terms.errors import Refused


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("en", "en"),
        ("PT-br", "pt-BR"),
        ("zh-hant-tw", "zh-Hant-TW"),
        ("es-419", "es-419"),
        ("fr-JP", "fr-JP"),
        ("iw", "iw"),
        ("fil-PH", "fil-PH"),
        ("sl-rozaj-biske", "sl-rozaj-biske"),
        ("de-CH-1996", "de-CH-1996"),
        ("en-US-u-hc-H23", "en-US-u-hc-h23"),
        ("en-x-Home", "en-x-home"),
    ],
)
def test_a_language_tag_is_kept_in_its_canonical_case(said, kept):
    assert languages.locale(said) == kept


@pytest.mark.parametrize(
    ("said", "about"),
    [
        ("", "BCP 47"),
        ("english", "BCP 47"),
        ("en-", "BCP 47"),
        ("en-US-", "BCP 47"),
        ("ënglish", "BCP 47"),
        ("en-" + "a" * 100, "BCP 47"),
        ("qq", "language"),
        ("en-Qqqq", "script"),
        ("en-UK", "region"),
    ],
)
def test_a_tag_that_means_nothing_is_refused(said, about):
    with pytest.raises(Refused) as refused:
        languages.locale(said)
    assert (refused.value.code, refused.value.pointer) == ("unknown_locale", "/locale")
    assert about in refused.value.detail


def test_an_underscore_is_refused_with_the_tag_that_was_meant():
    with pytest.raises(Refused) as refused:
        languages.locale("pt_BR")
    assert refused.value.suggestion == "pt-BR"


@pytest.mark.parametrize("name", ["UTC", "Europe/Paris", "America/Argentina/Ushuaia", "Etc/GMT+5", "Asia/Calcutta"])
def test_a_zone_of_the_iana_database_is_kept(name):
    assert languages.timezone(name) == name


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("europe/paris", "Europe/Paris"),
        ("Europe/Pari", "Europe/Paris"),
        ("America/New York", "America/New_York"),
        ("", None),
        ("Mars/Olympus", None),
        ("../../etc/passwd", None),
    ],
)
def test_another_zone_is_refused_with_the_one_that_was_probably_meant(said, meant):
    with pytest.raises(Refused) as refused:
        languages.timezone(said)
    assert (refused.value.code, refused.value.suggestion) == ("unknown_timezone", meant)
