"""What the tests of keys need."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from tests.issuer import private


@pytest.fixture(scope="session")
def certificate() -> bytes:
    """One that an issuer of tokens has signed for itself."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
    begin = datetime.datetime(2026, 1, 1)
    builder = x509.CertificateBuilder(name, name, private("p256").public_key(), 1, begin, begin.replace(year=2027))
    return builder.sign(private("p256"), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
