"""What the rehearsed Coinbase has instead of people: API keys, a certificate, and the check of every token.

Owns the key file, the certificate's file, and the answer to whether a request comes from the key. It knows nothing of
orders. What `pip install 'ordergate[rehearse]'` brings is imported where it is used.
"""

from __future__ import annotations

import base64
import binascii
import json
import ssl
import uuid
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from ordergate.clock import SystemClock
from ordergate.errors import InputError
from ordergate.keys import read_key_file
from ordergate.testing.loopback import Request
from ordergate.testing.stage import write_key_file

__all__ = ["Key", "certificate", "check_extra", "is_authentic", "key_in"]

_TOKEN_SECONDS: Final = 120
_LEEWAY: Final = 5.0


@frozen(kw_only=True)
class Key:
    """An API key as Coinbase knows it: never its private half."""

    name: str
    algorithm: str
    public: Any
    permissions: frozenset[str]


def check_extra() -> None:
    """Raises InputError where what the extra brings is not installed."""
    missing = [name for name in ("cryptography", "jwt", "trustme") if find_spec(name) is None]
    if missing:
        raise InputError("rehearsal", ", ".join(missing), "run `pip install 'ordergate[rehearse]'`")


# --- key files


def key_in(path: Path, algorithm: str, permissions: frozenset[str]) -> Key:
    """The key in the file, which is made by `algorithm` (ES256 or EdDSA) where there is none.

    Its form is that of the files Coinbase issues. Raises InputError for another algorithm, and for a file that holds
    no such key.
    """
    if algorithm not in ("ES256", "EdDSA"):
        raise InputError("algorithm", algorithm, "use ES256 or EdDSA")
    if not path.exists():
        stored = _new_es256() if algorithm == "ES256" else _new_eddsa()
        write_key_file(path, json.dumps(stored, indent=3))
    try:
        stored = json.loads(read_key_file(path))
        name, secret = str(stored.get("name") or stored["id"]), str(stored["privateKey"])
        algorithm, public = _public_half(secret)
    except (AttributeError, KeyError, TypeError, ValueError, binascii.Error):
        raise InputError("key_file", str(path), "it holds no key of this venue; move it away") from None
    return Key(name=name, algorithm=algorithm, public=public, permissions=permissions)


def _new_es256() -> dict[str, str]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return {"name": f"organizations/{_new_uuid()}/apiKeys/{_new_uuid()}", "privateKey": pem.decode("ascii")}


def _new_eddsa() -> dict[str, str]:
    from cryptography.hazmat.primitives.asymmetric import ed25519

    private = ed25519.Ed25519PrivateKey.generate()
    raw = private.private_bytes_raw() + private.public_key().public_bytes_raw()
    return {"id": _new_uuid(), "privateKey": base64.b64encode(raw).decode("ascii")}


def _new_uuid() -> str:
    return str(uuid.UUID(SystemClock().new_id()))


def _public_half(secret: str) -> tuple[str, Any]:
    """The algorithm and the public key; ValueError for what is no key of either kind."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    if not secret.startswith("-----BEGIN"):
        private = ed25519.Ed25519PrivateKey.from_private_bytes(base64.b64decode(secret, validate=True)[:32])
        return "EdDSA", private.public_key()
    loaded = serialization.load_pem_private_key(secret.encode(), password=None)
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        raise ValueError("another kind of key")
    return "ES256", loaded.public_key()


# --- the certificate


def certificate(ca_file: Path) -> ssl.SSLContext:
    """A certificate for this machine, by an authority that lives no longer than this process.

    What clients must trust is written to `ca_file`.
    """
    import trustme

    authority = trustme.CA()
    authority.cert_pem.write_to_path(ca_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


# --- tokens


def is_authentic(request: Request, key: Key, now: float) -> bool:
    """True when the request carries a token by this key, for this very request, and of now."""
    import jwt

    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme != "Bearer":
        return False
    try:
        header = jwt.get_unverified_header(token)
        claims = jwt.decode(
            token,
            key.public,
            algorithms=[key.algorithm],
            # The times are checked below, by the venue's own clock.
            options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False},
        )
    except jwt.PyJWTError:
        return False
    is_named = header.get("kid") == key.name == claims.get("sub")
    return is_named and _is_for(request, claims) and _is_current(claims, now) and _is_issued_well(claims)


def _is_for(request: Request, claims: Mapping[str, Any]) -> bool:
    """The token names the very method, host, port and path; not the query."""
    target = f"{request.method} {request.headers.get('host', '')}{request.path}"
    uris = claims.get("uris") if "uri" not in claims else [claims["uri"]]
    return isinstance(uris, list) and target in uris


def _is_current(claims: Mapping[str, Any], now: float) -> bool:
    begins, ends = claims.get("nbf"), claims.get("exp")
    if type(begins) is not int or type(ends) is not int:
        return False
    return begins - _LEEWAY <= now < ends + _LEEWAY and 0 < ends - begins <= _TOKEN_SECONDS


def _is_issued_well(claims: Mapping[str, Any]) -> bool:
    """By either of the two issuers in use, each with the audience that goes with it."""
    audience = claims.get("aud")
    match claims.get("iss"):
        case "cdp":
            return audience in (None, ["cdp_service"])
        case "coinbase-cloud":
            return audience == ["retail_rest_api_proxy"]
        case _:
            return False
