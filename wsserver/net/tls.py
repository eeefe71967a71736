"""TLS: what the settings ask for, for the listening sockets."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from ..config import flag
from ..errors import ConfigError

if TYPE_CHECKING:
    from ..config import Config


def server_options(config: Config) -> dict[str, Any]:
    """What `create_server` needs to speak TLS, nothing where no certificate is set; raises `ConfigError`."""
    context = server_context(config)
    if context is None:
        return {}
    return {
        "ssl": context,
        # Where the settings set no limit, asyncio's own hold: 60 and 30 seconds.
        "ssl_handshake_timeout": config.open_timeout or None,
        "ssl_shutdown_timeout": config.close_timeout or None,
    }


def server_context(config: Config) -> ssl.SSLContext | None:
    """What TLS needs, None where no certificate is set; raises `ConfigError` for files that cannot be used."""
    certificate, key, authorities = config.ssl_certfile, config.ssl_keyfile or config.ssl_certfile, config.ssl_ca_certs
    if not certificate:
        return None
    for name in ("ssl_certfile", "ssl_keyfile", "ssl_ca_certs"):
        _check_readable(flag(name), getattr(config, name))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, _password)
    except ssl.SSLError as exc:
        if exc.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(f"the key in {key} does not belong to {flag('ssl_certfile')} {certificate}") from exc
        raise ConfigError(
            f"no TLS with {certificate} and {key}: {flag('ssl_certfile')} must be a PEM file with the certificate and"
            f" its chain, {flag('ssl_keyfile')} one with its private key ({exc.reason or exc})"
        ) from exc
    if authorities:
        try:
            context.load_verify_locations(authorities)
        except ssl.SSLError as exc:
            raise ConfigError(f"{flag('ssl_ca_certs')} {authorities} holds no certificate in PEM form") from exc
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _check_readable(name: str, path: str) -> None:
    """OpenSSL does not say which of the files it could not read."""
    if path:
        try:
            with open(path, "rb"):
                return
        except OSError as exc:
            raise ConfigError(f"{name} {path} cannot be read: {exc.strerror}") from exc


def _password() -> str:
    """OpenSSL would ask the terminal."""
    raise ConfigError("the private key is locked by a password: store it without one, by `openssl pkey`")
