"""Published keys: `of_jwks` of `guard/keys.py`."""

from __future__ import annotations

import json

from tests.fuzz.source import Source, seed
from wsserver.guard import keys

_P256 = {
    "kty": "EC",
    "crv": "P-256",
    "x": "VWP7DoJGBK0Qn583tswLrbgAZou-71C4IQtgksNd2ik",
    "y": "3ytr04F1O1btcomvt4WrRm5G7lNFvwZvcUyUxOWaBQw",
    "kid": "p256",
}
_ED = {"kty": "OKP", "crv": "Ed25519", "x": "_2Ng8V3408DGjRMD6R3Wt8iejCbtjcfuGsk61roqyqg", "kid": "ed"}
_RSA = {
    "kty": "RSA",
    "n": "r3l77otUzw58j84wge08Eq82WtQsp4lXTj5WvllQ8atrTJUFhXDeZ_wd5cIZME-rsba5ClTectH3tKOAtqLDjVK3aiNf7guru4x947hlAes0"
    "_ya3sLF7qrfB0DsVVqMQvZC1i3UliZ4R3JSVtre_NgOQk8Nmt46kzcNBNMxjQmSdfK_G_7oRZzrYURnADfRACA7cUQAuuHlrV27tv4yeVnr_MzFL"
    "doS6_mAYA4Z9RAZoTvITkPgvasOfm01WHjRW7rfCAPdqGd-y3cuK94Pqln0__9zRO_Zk2jmPpMnpaRjgrAtTodT_-AaPB4qmCdthxXTLQXmyE44o"
    "yNQB3adX-Q",
    "e": "AQAB",
}


def _set(*entries: object) -> bytes:
    return seed(json.dumps({"keys": entries}).encode())


SEEDS = [
    _set(_P256, _ED, _RSA),
    _set({**_P256, "alg": "ES256", "use": "sig", "key_ops": ["verify"]}),
    _set({**_P256, "y": _P256["x"]}, {**_ED, "x": "AA"}, {**_RSA, "n": "AQAB"}, {**_RSA, "e": "AA"}),
    _set({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}),
    _set({**_P256, "d": "AAAA"}, {**_ED, "crv": "X25519"}, {**_P256, "crv": "secp256k1"}, None, [], 1),
    _set({**_P256, "alg": "none"}, {**_P256, "use": "enc"}, {**_P256, "key_ops": 1}, {**_P256, "kid": 7}),
    seed(b'{"keys":{}}'),
    seed(b"[" * 1000),
    seed(b'{"keys":[{"kty":"EC","crv":"P-256","x":1,"y":null}]}'),
]


def one(data: bytes) -> None:
    """Whatever an address says, it is refused by `ValueError`, or gives keys that are public, each for algorithms of
    its own kind only.
    """
    document = Source(data).rest()
    try:
        found = keys.of_jwks(document)
    except ValueError as exc:
        assert str(exc).startswith(("this is no", "the JWK Set"))
        return
    for key in found:
        assert key.algorithms and key.algorithms <= keys.PUBLIC_ALGORITHMS
        kinds = {name[:2] for name in key.algorithms}
        assert kinds in ({"RS", "PS"}, {"RS"}, {"PS"}, {"ES"}, {"Ed"})
        assert "Public" in type(key.material).__name__
        assert key.kid is None or isinstance(key.kid, str)
        algorithm = min(key.algorithms)
        chosen = keys.choose(found, algorithm, key.kid)
        assert chosen is None or (algorithm in chosen.algorithms and key.kid in (None, chosen.kid))
