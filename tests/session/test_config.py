"""Settings, credentials and errors as values."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

import ekb_async
from ekb_async import AppCredentials, ConfigError, EkbError, SessionConfig, StaticToken, errors


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("ocr_rate", [0, -1, 1_000_001, float("inf"), float("nan"), "1", True, None]),
        ("verify_rate", [0, 1e9]),
        ("rate_guard", [-0.01, 61]),
        ("max_running", [0, 1.5, True]),
        ("queue_size", [0, -1]),
        ("batch_size", [0, 101]),
        ("batch_in_flight", [0]),
        ("download_in_flight", [0]),
        ("request_timeout", [0, -1]),
        ("connect_timeout", [0]),
        ("read_timeout", [0]),
        ("max_tries", [0, 101, 2.0]),
        ("max_backoff", [-1]),
        ("repeat_unknown", [1, None, "yes"]),
        ("close_timeout", [-1]),
    ],
)
def test_a_value_out_of_range_names_its_field(field: str, values: list[object]) -> None:
    """A setting out of range is reported by name."""
    for value in values:
        with pytest.raises(ConfigError, match=field):
            SessionConfig(**{field: value})  # type: ignore[arg-type]


def test_settings_are_frozen() -> None:
    """Settings cannot be changed, and must be given by name."""
    with pytest.raises(AttributeError):
        SessionConfig().ocr_rate = 2.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        SessionConfig(1.0)  # type: ignore[call-arg]


@pytest.mark.parametrize("text", ["", "  ", None, 7])
def test_empty_credentials(text: object) -> None:
    """An empty key is reported by name before anything is sent."""
    with pytest.raises(ConfigError, match="app_security"):
        AppCredentials(app_key="k", app_security=text)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="token"):
        StaticToken(text)  # type: ignore[arg-type]


def test_credentials_of_another_kind() -> None:
    """Credentials of another type are a `ConfigError`."""
    with pytest.raises(ConfigError, match="credentials"):
        ekb_async.EkbSession("ID01:token")  # type: ignore[arg-type]


def test_errors_are_copied_and_pickled() -> None:
    """A copied or pickled error keeps its type, text and attributes, so that a pool of workers can pass it on."""
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, EkbError)]
    assert len(kinds) == 27
    for kind in kinds:
        error = kind("text")
        error.attempts = 3
        for twin in (copy.copy(error), pickle.loads(pickle.dumps(error)), error.again()):  # noqa: S301 - our own
            assert type(twin) is kind
            assert str(twin) == str(error)
            assert vars(twin) == vars(error)


def test_public_names_exist() -> None:
    """Every exported name of the package exists."""
    for name in ekb_async.__all__:
        assert getattr(ekb_async, name) is not None
