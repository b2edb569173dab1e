"""Tokens that are not the hub's, and certificate requests that ask for more than the node's own certificate."""

import base64
import json
import time

from attack import Case
from certs_kit import NODE_NAMES, csr, forge, new_key, pem_body
from conftest import program, run
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from edge import JoinRefused, request_certificate

DAY = 86_400


def encoded(part):
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def ask(ground, body, token, node="victim"):
    """The status, and the certificate if there is one."""
    try:
        return 200, x509.load_der_x509_certificate(request_certificate(ground.https, (ground.hub.directory / "rootCA.crt").read_text(), node, body, token))
    except JoinRefused as refused:
        return refused.status, None


def good(ground):
    return ground.token.split(".", 1)[1]


def tokens(ground):
    key = pem_body(ground.hub.directory / "rootCA.key")
    later = {"exp": int(time.time()) + DAY}
    header, claims, signature = good(ground).split(".")
    return {
        "alg none": f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{encoded(later)}.",
        "alg none with its old signature": f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{claims}.{signature}",
        "HS256 keyed by the public CA": forge((ground.hub.directory / "rootCA.crt").read_bytes(), later),
        "RS256 in the head": forge(key, later, {"alg": "RS256", "typ": "JWT"}),
        "expired": forge(key, {"exp": int(time.time()) - 1}),
        "no expiry": forge(key, {}),
        "expiry is text": forge(key, {"exp": "9999999999"}),
        "truncated": good(ground)[:-5],
        "no signature": f"{header}.{claims}.",
        "claims changed": f"{header}.{encoded(later)}.{signature}",
        "the hash alone": ground.token.split(".", 1)[0],
        "empty": "",
    }


def forged_tokens(ground):
    statuses = {name: ask(ground, csr("victim"), token)[0] for name, token in tokens(ground).items()}
    assert all(status in (401, 429) for status in statuses.values()), statuses
    # Failures of an address never lock out who has a good token.
    assert ask(ground, csr("victim", parts=NODE_NAMES), good(ground))[0] == 200
    return f"{len(statuses)} of {len(statuses)} refused (401, past ten a minute 429); a good token of the same address passes"


def bound_token(ground, node):
    """A bearer token for one node and one use."""
    done = run([program("hub-certs"), "token", "--dir", ground.hub.directory, "--node", node, "--ttl", "1h", "--once"])
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip().split(".", 1)[1]


def replayed_tokens(ground):
    token = bound_token(ground, "once-1")
    assert ask(ground, csr("once-1"), token, "once-1")[0] == 200
    again = ask(ground, csr("once-1"), token, "once-1")[0]
    elsewhere = ask(ground, csr("once-3"), bound_token(ground, "once-2"), "once-3")[0]
    assert again in (401, 429) and elsewhere in (401, 403, 429), (again, elsewhere)
    return f"the first use was signed, its replay answered {again}; another node's token answered {elsewhere}"


def requests(ground):
    body = bytearray(csr("victim"))
    body[-1] ^= 1
    alt = x509.SubjectAlternativeName([x509.DNSName("hub.example.com")])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return {
        "another node's name": csr("other"),
        "system:masters": csr(parts=[(NameOID.ORGANIZATION_NAME, "system:masters"), (NameOID.COMMON_NAME, "system:node:victim")]),
        "two common names": csr(parts=[*NODE_NAMES, (NameOID.COMMON_NAME, "system:node:other")], node="victim"),
        "own signature broken": bytes(body),
        "no request": b"junk",
    }, {
        "a host name": csr("victim", extensions=[alt]),
        "server usage": csr("victim", extensions=[usage]),
        "to be an authority": csr("victim", extensions=[x509.BasicConstraints(True, None)]),
    }


def greedy_requests(ground):
    refused, trimmed = requests(ground)
    statuses = {name: ask(ground, body, good(ground))[0] for name, body in refused.items()}
    assert all(status in (400, 403) for status in statuses.values()), statuses
    signed = 0
    for name, body in trimmed.items():
        status, certificate = ask(ground, body, good(ground))
        if certificate is None:
            assert status in (400, 403), (name, status)
            continue
        signed += 1
        extensions = {each.oid: each.value for each in certificate.extensions}
        assert x509.SubjectAlternativeName.oid not in extensions, name
        assert list(extensions[x509.ExtendedKeyUsage.oid]) == [ExtendedKeyUsageOID.CLIENT_AUTH], name
        constraints = extensions.get(x509.BasicConstraints.oid)
        assert constraints is None or not constraints.ca, name
    return f"{len(statuses)} refused ({', '.join(sorted(map(str, set(statuses.values()))))}); {signed} signed without what they asked for beyond the name"


def floods(ground):
    """A key that is costly to check, again and again."""
    key = new_key("rsa")
    count = ground.n
    statuses = [ask(ground, csr("victim", key=key), good(ground))[0] for _ in range(count)]
    assert set(statuses) <= {200, 429} and 429 in statuses, set(statuses)
    return f"{statuses.count(200)} signed, {statuses.count(429)} answered 429: so many a minute for one node"


CASES = [
    Case("a one-time token used again, and another node's token", "certs", replayed_tokens),
    Case("12 forged join tokens: alg none, RS256, expired, truncated, …", "certs", forged_tokens),
    Case("8 certificate requests: another node's name, system:masters, broken signature, SAN, server usage, CA", "certs", greedy_requests),
    Case("{n:,} certificate requests with one good token", "certs", floods, counts=(300, 20)),
]
