"""Negotiating permessage-deflate: `negotiate` of `wire/deflate.py`."""

from __future__ import annotations

import zlib

from tests.fuzz.source import Source, seed
from wsserver.wire.deflate import Deflate, negotiate

SEEDS = [
    seed(1, b"permessage-deflate; client_max_window_bits"),
    seed(0, b"permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
    seed(1, b'permessage-deflate; server_max_window_bits=10; client_max_window_bits="9"'),
    seed(1, b"permessage-deflate; server_max_window_bits=8, permessage-deflate"),
    seed(1, b"permessage-deflate; server_max_window_bits, x-webkit-deflate-frame, Permessage-Deflate ;"),
    seed(0, b"permessage-deflate; client_max_window_bits=15; client_max_window_bits=15"),
    seed(0, b"permessage-deflate; server_no_context_takeover=1; =; a=b=c"),
]

_CONTENT = b"what both have to say " * 100


def _fits(offer: dict[str, str], agreed: list[str]) -> bool:
    """Whether these parameters may answer this offer: a window only as it was offered, forgetting always."""
    windows = dict(parameter.split("=") for parameter in agreed if "=" in parameter)
    return (
        all(offer.get(name) in ("", bits) for name, bits in windows.items())
        and ("server_no_context_takeover" not in offer or "server_no_context_takeover" in agreed)
        and offer.get("server_max_window_bits") == windows.get("server_max_window_bits")
    )


def one(data: bytes) -> None:
    """Offers are declined, or one of them is agreed to by parameters that it had, with which both sides understand one
    another; never is anything raised.
    """
    source = Source(data)
    takeover = source.choose((False, True))
    offers = [element for part in source.rest().decode("latin-1").split(",") if (element := part.strip())]
    agreed = negotiate(offers, takeover)
    if agreed is None:
        return
    name, *parameters = agreed.header().split("; ")
    offered = []
    for offer in offers:
        first, *others = (part.partition("=") for part in offer.split(";"))
        found = {parameter.strip(): value.strip().strip('"') for parameter, _, value in others}
        # "... multiple extension parameters with the same name" are none that could be agreed to (7.1).
        if first[0].strip().lower() == name and len(found) == len(others):
            offered.append(found)
    fitting = [offer for offer in offered if _fits(offer, parameters)]
    assert fitting, (offers, agreed)
    assert takeover or (agreed.server_no_context_takeover and agreed.client_no_context_takeover)
    # The client, with exactly the windows that were agreed.
    server = Deflate(agreed, len(_CONTENT))
    inflater = zlib.decompressobj(-(agreed.server_max_window_bits or 15))
    squeezer = zlib.compressobj(wbits=-agreed.client_max_window_bits)
    for _ in range(2):
        assert inflater.decompress(server.compress(_CONTENT) + b"\0\0\xff\xff") == _CONTENT
        squeezed = squeezer.compress(_CONTENT) + squeezer.flush(zlib.Z_SYNC_FLUSH)
        assert b"".join((*server.inflate(squeezed[:-4]), *server.finish())) == _CONTENT
        if agreed.server_no_context_takeover:
            inflater = zlib.decompressobj(-(agreed.server_max_window_bits or 15))
        if agreed.client_no_context_takeover:
            squeezer = zlib.compressobj(wbits=-agreed.client_max_window_bits)
