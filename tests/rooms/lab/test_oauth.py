"""The token endpoint takes a good assertion and no other; what it gives out expires and can be revoked."""

import time
from urllib.parse import urlencode

import orjson
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tocsin.lab import accounts as kept
from tocsin.lab.exchange import Request
from tocsin.lab.fcm.oauth import GOOGLE_AUDIENCE, GRANT, OAuth

OWN = "https://localhost:9443/token"
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def accounts(tmp_path_factory):
    return kept.load(tmp_path_factory.mktemp("lab"))


@pytest.fixture
def oauth(accounts):
    return OAuth(accounts, lambda: {OWN})


def signed(claims, key, header):
    text = f"{kept.b64url(orjson.dumps(header))}.{kept.b64url(orjson.dumps(claims))}"
    return f"{text}.{kept.b64url(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def assertion(accounts, *, key=None, kid=None, alg="RS256", **changed):
    now = time.time()
    claims = {"iss": kept.CLIENT_EMAIL, "scope": "s", "aud": GOOGLE_AUDIENCE, "iat": now, "exp": now + 3600, **changed}
    own = serialization.load_pem_private_key(accounts.rsa_pem.encode(), None)
    return signed(claims, key or own, {"alg": alg, "typ": "JWT", "kid": kid or accounts.key_id})


def ask(oauth, text, grant=GRANT, method="POST"):
    body = urlencode({"grant_type": grant, "assertion": text}).encode()
    answer = oauth.receive(Request(method, "/token", "", [], body, "c", h2=False))
    return answer.status, orjson.loads(answer.body)


@pytest.mark.parametrize("audience", [GOOGLE_AUDIENCE, OWN])
def test_a_good_assertion_gets_a_bearer_token(oauth, accounts, audience):
    status, told = ask(oauth, assertion(accounts, aud=audience))
    assert (status, told["token_type"], told["expires_in"]) == (200, "Bearer", 3599)
    assert oauth.is_good(f"Bearer {told['access_token']}", time.time())


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"iss": "someone@example.com"}, "account not found"),
        ({"kid": "0" * 40}, "Invalid JWT Signature"),
        ({"key": OTHER_KEY}, "Invalid JWT Signature"),
        ({"alg": "HS256"}, "alg must be RS256"),
        ({"aud": "https://elsewhere.example/token"}, "audience"),
        ({"iat": 10, "exp": 20}, "short-lived"),
        ({"exp": time.time() + 7200}, "short-lived"),
        ({"iat": time.time() + 3000}, "short-lived"),
        ({"iat": time.time() - 7000, "exp": time.time() + 100}, "short-lived"),
        ({"scope": " "}, "scope is required"),
        ({"scope": None}, "scope is required"),
    ],
)
def test_an_assertion_that_is_not_good_is_refused_in_words(oauth, accounts, changed, words):
    status, told = ask(oauth, assertion(accounts, **changed))
    assert (status, told["error"]) == (400, "invalid_grant")
    assert words in told["error_description"]


def test_times_must_be_numbers(oauth, accounts):
    assert "must be numbers" in ask(oauth, assertion(accounts, exp=[1]))[1]["error_description"]


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c", "W10.W10.W10", "%.%.%"])
def test_what_is_no_jwt_is_refused(oauth, text):
    status, told = ask(oauth, text)
    assert (status, told["error"]) == (400, "invalid_grant")


def test_another_grant_and_another_method_are_refused(oauth, accounts):
    assert ask(oauth, assertion(accounts), grant="password")[1]["error"] == "unsupported_grant_type"
    assert ask(oauth, "", method="GET")[0] == 405


def test_an_access_token_expires_and_is_revoked_with_its_account(oauth, accounts):
    oauth.lifetime = 5
    field = "Bearer " + oauth.give(1000.0)
    assert oauth.is_good(field, 1004.0)
    assert not oauth.is_good(field, 1005.0)
    field = "Bearer " + oauth.give(2000.0)
    oauth.revoked = True
    assert not oauth.is_good(field, 2001.0)
    assert ask(oauth, assertion(accounts))[1]["error"] == "invalid_grant"
    oauth.revoked = False
    assert oauth.is_good(field, 2001.0)


def test_an_access_token_outlives_the_lab_that_gave_it(oauth, accounts):
    field = "Bearer " + oauth.give(1000.0)
    assert OAuth(accounts, lambda: {OWN}).is_good(field, 1001.0)


@pytest.mark.parametrize(
    "field", [None, "", "Bearer", "Basic x", "Bearer ya29.lab.AA.BB", "Bearer ya29.lab.%%.BB", "Bearer a.b.c.d"]
)
def test_what_we_never_gave_is_no_access_token(oauth, field):
    assert not oauth.is_good(field, 0.0)


def test_the_memory_of_good_tokens_is_bounded(oauth):
    fields = ["Bearer " + oauth.give(1000.0 + n) for n in range(1100)]
    assert all(oauth.is_good(field, 1001.0) for field in fields)
    assert len(oauth._good) == 1024


def test_accounts_are_kept_and_a_file_that_is_not_theirs_is_refused(tmp_path):
    first = kept.load(tmp_path)
    again = kept.load(tmp_path)
    assert (first.rsa_pem, first.vapid_private, first.seed) == (again.rsa_pem, again.vapid_private, again.seed)
    assert (tmp_path / "accounts.json").stat().st_mode & 0o777 == 0o600
    (tmp_path / "accounts.json").write_text('{"key_id": 1}')
    with pytest.raises(ValueError, match="remove it to make new ones"):
        kept.load(tmp_path)
