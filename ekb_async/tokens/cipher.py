"""Tokens outside the memory of a process: encrypted, with a key that their place does not have.

The key is derived from the app secret, which every process that may use the token has, and the place where it is kept
has not. Whoever has that secret can get a token from the vendor anyway, so the ciphertext gives nobody more than they
had. Who keeps the file or database, or reads a copy of it, can do nothing with it: an app secret is the vendor's to
make, and too long to be guessed. `EKB_TOKEN_KEY` in the environment, any text, goes into the key too, where rules ask
for one that does not come from the vendor; it must then be the same for all processes.

Each enterprise has a key of its own, so a ciphertext says nothing in another one's place. What cannot be decrypted
(made with another key, or tampered with) is no token. Moments are kept in the clear; one that was tampered with makes
a token be fetched early, or be refused by the vendor once.
"""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

import msgspec

from ekb_async.errors import ConfigError
from ekb_async.tokens.store import SharedToken, moved

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

_PURPOSE = b"ekb_async access token of "


class EncryptedToken(msgspec.Struct, frozen=True, array_like=True):
    """A token as a store keeps it; moments are epoch seconds on the store's clock."""

    generation: int
    ciphertext: bytes
    issued: float
    renew_from: float
    unusable_from: float


class TokenCipher:
    """Seals the tokens of one enterprise. The `repr` shows no secret."""

    def __init__(self, key: str, secret: str) -> None:
        self._fernet = _fernet(key, secret, os.fsencode(os.environ.get("EKB_TOKEN_KEY", "")))

    def encrypt(self, token: SharedToken, now: float) -> EncryptedToken:
        """The token as it may be kept; `now` is the store's time in epoch seconds."""
        ciphertext = self._fernet.encrypt(msgspec.json.encode((token.value, token.refresh)))
        at = moved(token, now)
        return EncryptedToken(token.generation, ciphertext, at.issued, at.renew_from, at.unusable_from)

    def open(self, encrypted: EncryptedToken, now: float) -> SharedToken | None:
        """The token that was sealed, None if it cannot be read with this key."""
        from cryptography.fernet import InvalidToken

        try:
            value, refresh = msgspec.json.decode(self._fernet.decrypt(encrypted.ciphertext), type=tuple[str, str])
        except (InvalidToken, msgspec.DecodeError):
            return None
        token = SharedToken(
            value, refresh, encrypted.generation, encrypted.issued, encrypted.renew_from, encrypted.unusable_from
        )
        return moved(token, -now)


def check_encryption() -> None:
    """Raises `ConfigError` if the library for it is not there. Otherwise it is loaded, which takes a moment."""
    try:
        import cryptography.fernet  # noqa: F401  (asked for here, so that it is missed before a token is needed)
    except ImportError as error:
        raise ConfigError(
            f"shared tokens are kept encrypted, which needs a library that is not there ({error}): "
            'pip install "ekb-async[tokens]"'
        ) from None


def _fernet(key: str, secret: str, added: bytes) -> Fernet:
    from cryptography.fernet import Fernet
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derivation = HKDF(SHA256(), length=32, salt=added, info=_PURPOSE + key.encode())
    return Fernet(base64.urlsafe_b64encode(derivation.derive(secret.encode())))
