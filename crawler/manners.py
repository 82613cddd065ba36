"""How to behave towards a host: rate, requests at once, time-outs, tries and waits."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version

from crawler.errors import SelectionError

__all__ = ["RequestPolicy", "retry_after"]


@dataclass(frozen=True, slots=True)
class RequestPolicy:
    """How to behave towards a host.

    Attributes
    ----------
    rate : float
        Requests a second, over all threads; 0 for no limit.
    at_once : int
        Requests under way at the same time.
    timeout : float
        Seconds without a byte after which a request is given up.
    deadline : float
        Seconds after which a request is given up even if bytes still trickle in.
    tries : int
        How often one thing is asked for.
    first_wait, longest_wait : float
        Seconds before the second try, and the bound to which the wait doubles.
    contact : str or None
        Put into the User-Agent, so that the host can write to whoever runs this.
    """

    rate: float = 1.0
    at_once: int = 2
    timeout: float = 30.0
    deadline: float = 900.0
    tries: int = 6
    first_wait: float = 0.5
    longest_wait: float = 60.0
    contact: str | None = None

    def __post_init__(self) -> None:
        if self.rate < 0 or self.at_once < 1 or self.timeout <= 0 or self.tries < 1 or self.first_wait < 0:
            raise SelectionError("usage", "rate, requests at once, time-out, tries and waits must be positive")
        if self.contact is not None and not re.fullmatch(r"[\x21-\x7e]{1,200}", self.contact):
            raise SelectionError("usage", "a contact is an e-mail address or a URL, without spaces")

    def wait(self, attempt: int, asked: float | None = None) -> float:
        """Seconds before try number `attempt` + 1: doubling, jittered by half, at least what the host asked for."""
        grown = min(self.longest_wait, self.first_wait * 2.0 ** (attempt - 1))
        return max(asked or 0.0, grown * random.uniform(0.5, 1.5))

    @property
    def user_agent(self) -> str:
        """Name and version of the project, and the contact."""
        try:
            number = version("sbmlump")
        except PackageNotFoundError:  # run from a source tree
            number = "0"
        told = f"contact: {self.contact}" if self.contact else "SBML model reduction survey"
        return f"sbmlump-crawler/{number} ({told})"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds a Retry-After header asks for: a number or a date; ``None`` without one."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
