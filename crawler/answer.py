"""An HTTP answer, and what its ETag says about its body."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

__all__ = ["Response", "ParsedResponse"]

T = TypeVar("T")
_DIGESTS: Final = {32: "md5", 40: "sha1", 64: "sha256"}


@dataclass(frozen=True, slots=True)
class Response:
    """Status, headers (lower case) and body of one answer.

    ``sure``: the body agrees with a digest that came with it; ``doubtful``: it contradicts what looks like one.
    """

    status: int
    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def etag(self) -> str | None:
        """The ETag, quotes included."""
        return self.headers.get("etag")

    @property
    def sure(self) -> bool:
        """Whether a strong ETag is the MD5, SHA-1 or SHA-256 of the body, as many servers make them."""
        return self._etag_fits() is True

    @property
    def doubtful(self) -> bool:
        """Whether a strong ETag has the form of such a digest and is another one."""
        return self._etag_fits() is False

    def _etag_fits(self) -> bool | None:
        # Spring writes "0" before the MD5; an odd number of digits is no digest of anything else
        match = re.fullmatch(r'"(?:0(?=[0-9a-f]{32}"))?([0-9a-fA-F]+)"', self.etag or "")
        algorithm = _DIGESTS.get(len(match[1])) if match else None
        if match is None or algorithm is None:
            return None
        return hashlib.new(algorithm, self.body, usedforsecurity=False).hexdigest() == match[1].lower()


@dataclass(frozen=True, slots=True)
class ParsedResponse(Generic[T]):
    """An answer as its reader understood it; ``value`` is ``None`` only when the thing has not changed (304)."""

    value: T | None
    sure: bool
    etag: str | None
    bytes: int
