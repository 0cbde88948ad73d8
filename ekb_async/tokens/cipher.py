"""Encryption of tokens that are stored outside the memory of a process, with a key that the store does not have.

The key is derived from the app secret. Every process that may use the token has that secret, and the store has not.
The secret alone suffices to get a token from the vendor, so the ciphertext adds nothing to what its holder may do. The
operator of the file or database, or the reader of a copy, can do nothing with the ciphertext: app secrets are generated
by the vendor and too long to be guessed. `EKB_TOKEN_KEY` in the environment, any text, is mixed into the key, for
rules that require a key not issued by the vendor; it must then be the same for all processes.

Each enterprise has a key of its own, so a ciphertext cannot be read in another enterprise's entry. A ciphertext that
cannot be decrypted (encrypted with another key, or tampered with) counts as no token. Moments are stored unencrypted; a
changed one causes a token to be fetched early, or to be refused by the vendor once.
"""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

import msgspec

from ekb_async.errors import ConfigError
from ekb_async.tokens.store import SharedToken, shifted

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

_PURPOSE = b"ekb_async access token of "


class EncryptedToken(msgspec.Struct, frozen=True, array_like=True):
    """A token as it is stored; moments are epoch seconds on the store's clock."""

    generation: int
    ciphertext: bytes
    issued: float
    renew_from: float
    unusable_from: float


class TokenCipher:
    """Encrypts and decrypts the tokens of one enterprise. The `repr` shows no secret."""

    def __init__(self, key: str, secret: str) -> None:
        self._fernet = _fernet(key, secret, os.fsencode(os.environ.get("EKB_TOKEN_KEY", "")))

    def encrypt(self, token: SharedToken, now: float) -> EncryptedToken:
        """Return the token in the form to be stored; `now` is the store's time in epoch seconds."""
        ciphertext = self._fernet.encrypt(msgspec.json.encode((token.value, token.refresh)))
        at = shifted(token, now)
        return EncryptedToken(token.generation, ciphertext, at.issued, at.renew_from, at.unusable_from)

    def decrypt(self, encrypted: EncryptedToken, now: float) -> SharedToken | None:
        """Return the token, None if it cannot be decrypted with this key; `now` is the store's time."""
        from cryptography.fernet import InvalidToken

        try:
            value, refresh = msgspec.json.decode(self._fernet.decrypt(encrypted.ciphertext), type=tuple[str, str])
        except (InvalidToken, msgspec.DecodeError):
            return None
        token = SharedToken(
            value, refresh, encrypted.generation, encrypted.issued, encrypted.renew_from, encrypted.unusable_from
        )
        return shifted(token, -now)


def check_encryption() -> None:
    """Import the library for encryption, which takes a moment. Raises `ConfigError` if it is not installed."""
    try:
        import cryptography.fernet  # noqa: F401  (imported here, so that its absence shows before a token is needed)
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
