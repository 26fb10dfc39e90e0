"""A seal in run.json, by which a run that was made here is told from one that came from somebody else.

It is a code over the settings with a secret of the user, so that nobody else can make one for other settings. The
secret lies in the cache folder. Without it, runs count as foreign, and an evaluation asks more often.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from condense.errors import StorageError
from condense.recipe.config import digest
from condense.storage.files import cache_dir, read_bytes

_BYTES = 32


def seal_of(settings: Mapping[str, Any]) -> str:
    """Return the seal of the settings in a run.json, or "" if this user can keep no secret."""
    secret = _secret(create=True)
    return _code(secret, settings) if secret else ""


def is_sealed(data: Mapping[str, Any]) -> bool:
    """Return whether a run.json, as plain data, has the seal of its settings. False for any other data."""
    seal, settings, secret = data.get("seal"), data.get("settings"), _secret(create=False)
    if not secret or not isinstance(seal, str) or not isinstance(settings, Mapping):
        return False
    return hmac.compare_digest(seal.encode(errors="replace"), _code(secret, settings).encode())


def _code(secret: bytes, settings: Mapping[str, Any]) -> str:
    return hmac.new(secret, digest(settings).encode(), "sha256").hexdigest()


def _secret(*, create: bool) -> bytes:
    """Return the secret of this user, or nothing if there is none. create: whether to make one."""
    file = cache_dir(os.environ) / "seal"
    if create and not file.exists():
        with contextlib.suppress(OSError):  # A cache that cannot be written is no reason to stop a run.
            _make(file)
    try:
        found = read_bytes(file, most=_BYTES)
    except StorageError:
        return b""
    return found if len(found) == _BYTES else b""


def _make(file: Path) -> None:
    """Write a new secret, readable for this user alone. Of two processes at once, one wins."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{secrets.token_hex(6)}.tmp")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(secrets.token_bytes(_BYTES))
    try:
        with contextlib.suppress(FileExistsError):
            file.hardlink_to(part)
    finally:
        part.unlink()
