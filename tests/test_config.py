"""The settings: every field takes what can work, and says what to do where something cannot."""

from __future__ import annotations

from dataclasses import Field, FrozenInstanceError, fields
from math import inf, nan
from typing import Any

import pytest

from wsserver.config import Config, flag, variable
from wsserver.errors import ConfigError

SETTINGS = {setting.name: setting for setting in fields(Config)}


def named(*kinds: type) -> list[str]:
    """The settings of these types; those that are a choice of words have none of them."""
    return [name for name, setting in SETTINGS.items() if kind_of(setting) in kinds]


def kind_of(setting: Field[Any]) -> type | None:
    return None if setting.metadata["choices"] else type(setting.default)


def made(**settings: Any) -> Any:
    """A configuration of whatever a test comes up with."""
    return Config(**settings)


def refusal(**settings: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        Config(**settings)
    return str(caught.value)


def test_the_defaults_work() -> None:
    config = Config()
    assert (config.host, config.port, config.path) == ("127.0.0.1", 8765, "/ws/chat")
    assert config == made(**{name: setting.default for name, setting in SETTINGS.items()})


def test_it_is_frozen_and_knows_no_others() -> None:
    with pytest.raises(FrozenInstanceError):
        Config().port = 1  # type: ignore[misc]
    with pytest.raises(TypeError, match="portt"):
        Config(portt=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        Config("127.0.0.1")  # type: ignore[call-arg]


def test_flags_and_variables() -> None:
    assert (flag("max_log_size"), variable("max_log_size")) == ("--max-log-size", "WSSERVER_MAX_LOG_SIZE")


@pytest.mark.parametrize("name", SETTINGS)
def test_every_one_explains_itself(name: str) -> None:
    metadata = SETTINGS[name].metadata
    assert metadata["help"]
    assert metadata["zero"] is None or metadata["zero"]


@pytest.mark.parametrize("value", [True, 1.5, "8", None, nan])
@pytest.mark.parametrize("name", named(int))
def test_a_whole_number(name: str, value: Any) -> None:
    assert refusal(**{name: value}) == f"{flag(name)} takes a whole number, not {value!r}"


@pytest.mark.parametrize("value", [True, "8", None, [1.0]])
@pytest.mark.parametrize("name", named(float))
def test_a_number(name: str, value: Any) -> None:
    assert refusal(**{name: value}) == f"{flag(name)} takes a number, not {value!r}"


@pytest.mark.parametrize("name", named(float))
def test_a_whole_number_is_a_number(name: str) -> None:
    assert getattr(made(**{name: 3}), name) == 3


@pytest.mark.parametrize("value", [0, 1, "true", None])
@pytest.mark.parametrize("name", named(bool))
def test_true_or_false(name: str, value: Any) -> None:
    assert refusal(**{name: value}) == f"{flag(name)} takes true or false, not {value!r}"
    assert getattr(made(**{name: True}), name) is True


@pytest.mark.parametrize("value", [7, None, b"/ws", True])
@pytest.mark.parametrize("name", named(str))
def test_text(name: str, value: Any) -> None:
    shown = type(value).__name__ if SETTINGS[name].metadata["secret"] else repr(value)
    assert refusal(**{name: value}) == f"{flag(name)} takes text, not {shown}"


@pytest.mark.parametrize("name", named(str))
def test_no_text(name: str) -> None:
    if SETTINGS[name].default:
        assert refusal(**{name: ""}).startswith(f"{flag(name)} must not be empty: ")
    else:
        assert made(**{name: ""}) == Config()


def test_secrets_are_not_shown() -> None:
    secret = {name for name in SETTINGS if SETTINGS[name].metadata["secret"]}
    assert secret == {"redis", "admin_token", "jwt_secret", "introspection_client_secret"}
    shown = repr(made(**dict.fromkeys(secret, "hunter2")))
    assert "hunter2" not in shown
    assert not any(name in shown for name in secret)


@pytest.mark.parametrize("name", named(int, float))
def test_nothing_is_negative(name: str) -> None:
    assert refusal(**{name: -1}) == f"{flag(name)} must not be negative, but is -1"


@pytest.mark.parametrize("name", named(float))
def test_nor_nearly(name: str) -> None:
    assert refusal(**{name: -0.001}) == f"{flag(name)} must not be negative, but is -0.001"


@pytest.mark.parametrize("value", [nan, inf])
@pytest.mark.parametrize("name", named(float))
def test_numbers_are_finite(name: str, value: float) -> None:
    assert refusal(**{name: value}) == f"{flag(name)} must be a finite number, not {value}"


@pytest.mark.parametrize("name", named(int, float))
def test_zero_where_it_means_something(name: str) -> None:
    if SETTINGS[name].metadata["zero"] is None:
        assert refusal(**{name: 0}) == f"{flag(name)} must be more than 0"
    else:
        assert getattr(made(**{name: 0}), name) == 0


def test_where_zero_means_nothing() -> None:
    zero = {name for name in named(int, float) if SETTINGS[name].metadata["zero"] is None}
    assert zero >= {"soft_limit", "hard_limit", "ping_timeout"}


def test_maximum() -> None:
    assert Config(port=65535).port == 65535
    assert refusal(port=65536) == "--port must be at most 65535, but is 65536"


@pytest.mark.parametrize("name", [name for name, setting in SETTINGS.items() if setting.metadata["choices"]])
def test_choices(name: str) -> None:
    words = SETTINGS[name].metadata["choices"]
    assert SETTINGS[name].default in words
    needed = {"redis": "redis://x"} if name == "durability" else {}
    for word in words:
        assert getattr(made(**{name: word, **needed}), name) == word
    for other in ("", "nonsense", words[0].upper(), None, 7, [words[0]]):
        assert refusal(**{name: other}) == f"{flag(name)} must be one of {', '.join(words)}, not {other!r}"


@pytest.mark.parametrize("path", ["ws", "ws/chat", " /ws", "http://x/ws"])
def test_path_begins_with_a_slash(path: str) -> None:
    assert refusal(path=path) == f"--path must begin with a slash, like /ws/chat, not {path!r}"
    assert Config(path="/").path == "/"


@pytest.mark.parametrize("path", ["/a b", "/ws?x", "/ws#x", "/%41", "/\u00fcn\u00ef", "/ws\n"])
def test_path_is_what_a_client_sends(path: str) -> None:
    assert refusal(path=path) == f"--path takes letters, digits and /-._~ as they are, not {path!r}"


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_path_leaves_the_health_checks_alone(path: str) -> None:
    assert refusal(path=path) == f"--path {path} is taken by the health checks: choose another path"


def test_the_hard_limit_is_not_below_the_soft_one() -> None:
    assert Config(soft_limit=10, hard_limit=10).hard_limit == 10
    assert refusal(soft_limit=11, hard_limit=10) == "--hard-limit (10) must not be below --soft-limit (11)"


def test_several_processes_need_redis_or_sessions_that_nobody_resumes() -> None:
    assert refusal(workers=4) == (
        "--workers 4 needs --redis: a client that comes back may reach another process than that of its session;"
        " or set --resume-ttl 0, so that none comes back"
    )
    assert Config(workers=4, redis="redis://x").workers == Config(workers=4, resume_ttl=0).workers == 4


def test_durability_is_that_of_redis() -> None:
    assert refusal(durability="strict") == "--durability does nothing without --redis: set that too"


@pytest.mark.parametrize("host", [",", " ", "127.0.0.1,,::1", "127.0.0.1,", " ,::1"])
def test_every_host_has_a_name(host: str) -> None:
    assert refusal(host=host) == f"--host takes addresses separated by commas, like 127.0.0.1,::1, not {host!r}"
    assert Config(host="127.0.0.1, ::1").host == "127.0.0.1, ::1"


@pytest.mark.parametrize("name", ["ssl_keyfile", "ssl_ca_certs"])
def test_a_certificate_comes_first(name: str) -> None:
    assert refusal(**{name: "x.pem"}) == f"{flag(name)} does nothing without --ssl-certfile: set that too"
    assert getattr(made(ssl_certfile="y.pem", **{name: "x.pem"}), name) == "x.pem"
