"""One BLAS thread for many small products."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController

__all__ = ["single_threaded"]


@cache
def _controller() -> ThreadpoolController:
    # finding the libraries takes milliseconds: once a process
    return ThreadpoolController()


def single_threaded() -> AbstractContextManager[object]:
    """Context in which BLAS uses one thread."""
    context: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
    return context
