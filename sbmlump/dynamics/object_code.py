"""Object code of the compiled loops: kept on disk, loaded without Numba, and called with plain words.

To import Numba and let it load what it keeps itself takes half a second, which is a fifth of what a whole approximate
reduction takes; object code is there within a few hundredths. It is made once for the sources of the loops, the version
of Numba and the processor (:mod:`sbmlump.dynamics.compilation`).
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import cache_from_source, find_spec
from pathlib import Path
from typing import Any, Final

from sbmlump.dynamics import kernels
from sbmlump.dynamics.arguments import Kind, Packed, kinds_of, word_types, words_of
from sbmlump.files import OutputError, write_atomically

__all__ = ["Entry", "LoadedCode", "ObjectCode", "code_key", "entry_points", "kept_code", "loaded_code", "machine"]

_SOURCES: Final = ("kernels.py", "arguments.py", "vectors.py", "compilation.py")


@dataclass(frozen=True, slots=True)
class ObjectCode:
    """What is kept.

    Attributes
    ----------
    objects : tuple of bytes
    names : mapping of str to str
        What functions are called there.
    needed : tuple of str
        Functions that a process has to have.
    target : tuple of str
        Triple, processor and features that Numba compiled for.
    """

    objects: tuple[bytes, ...]
    names: Mapping[str, str]
    needed: tuple[str, ...]
    target: tuple[str, str, str]

    def packed(self) -> bytes:
        """As one file: a line that says what it holds and what its hash is, then the objects."""
        body = b"".join(self.objects)
        head = {
            "sha256": hashlib.sha256(body).hexdigest(),
            "sizes": [len(one) for one in self.objects],
            "names": dict(self.names),
            "needed": self.needed,
            "target": self.target,
        }
        return json.dumps(head).encode() + b"\n" + body

    @classmethod
    def unpacked(cls, data: bytes) -> ObjectCode | None:
        """From such a file; ``None`` where it is not whole."""
        line, _, body = data.partition(b"\n")
        try:
            head = json.loads(line)
            if head["sha256"] != hashlib.sha256(body).hexdigest():
                return None
            objects, begin = [], 0
            for size in head["sizes"]:
                objects.append(body[begin : begin + size])
                begin += size
            return cls(tuple(objects), head["names"], tuple(head["needed"]), tuple(head["target"]))
        except (ValueError, KeyError, TypeError):
            return None


class Entry:
    """A compiled function.

    Parameters
    ----------
    address : int
    kinds : tuple
        Of its arguments.
    """

    def __init__(self, address: int, kinds: tuple[Kind, ...]) -> None:
        words = [one for kind in kinds for one in word_types(kind)]
        # Numba's functions write what they return, and an error, behind their first two arguments
        self._function = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *words)(address)
        self._kinds = kinds
        self._result, self._error = ctypes.c_void_p(), ctypes.c_void_p()
        self._places = ctypes.addressof(self._result), ctypes.addressof(self._error)

    def __call__(self, *args: Any) -> None:
        """Call it; what it finds is in the arrays that it writes.

        Raises
        ------
        TypeError
            If an argument is not what the function was compiled for.
        """
        words: list[Any] = []
        for value, kind in zip(args, self._kinds, strict=True):
            if isinstance(value, Packed) and value.kind is kind:
                words += value.words
            else:
                words += words_of(value, kind)
        self._function(*self._places, *words)


@dataclass(frozen=True, slots=True, eq=False)
class LoadedCode:
    """Object code in this process.

    Attributes
    ----------
    entries : mapping of str to Entry
        By their names in :data:`sbmlump.dynamics.kernels.ENTRIES`.
    numbers : tuple of int
        Addresses of :data:`sbmlump.dynamics.kernels.NUMBERS`.
    target : tuple of str
        What machine code of fields is made for.
    engine : object
        What frees the code when it goes.
    """

    entries: Mapping[str, Entry]
    numbers: tuple[int, ...]
    target: tuple[str, str, str]
    engine: object

    @property
    def evaluate(self) -> Entry:
        """See :func:`sbmlump.dynamics.kernels.evaluate`."""
        return self.entries["evaluate"]

    @property
    def follow(self) -> Entry:
        """See :func:`sbmlump.dynamics.kernels.follow`."""
        return self.entries["follow"]

    @property
    def put_exponentials(self) -> Entry:
        """See :func:`sbmlump.dynamics.kernels.put_exponentials`."""
        return self.entries["put_exponentials"]

    @property
    def put_sums_along(self) -> Entry:
        """See :func:`sbmlump.dynamics.kernels.put_sums_along`."""
        return self.entries["put_sums_along"]


@cache
def entry_points() -> LoadedCode | None:
    """The compiled loops; ``None`` where there are none.

    That is where Numba is not installed, is switched off (``NUMBA_DISABLE_JIT=1``) or does not go with the installed
    NumPy, and where there is no folder to keep object code in, or no source to name it by: to compile takes longer than
    most jobs.
    """
    if find_spec("numba") is None or os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return None
    try:
        kept = kept_code(code_key())
        if kept is None:
            folder = _writable()
            if folder is None:
                return None
            kept = import_module("sbmlump.dynamics.compilation").compile_kernels()
            with suppress(OutputError):  # a disk that became full meanwhile: this process has it all the same
                write_atomically(folder / f"{code_key()}{_SUFFIX}", kept.packed(), durable=False)
        return loaded_code(kept)
    except (ImportError, OSError):  # made for another NumPy; installed without sources, which the name is made from
        return None


# -- what is kept ----------------------------------------------------------------------------------

_SUFFIX: Final = ".object-code"


def code_key() -> str:
    """The name that object code is kept under: another one when anything changes that it depends on."""
    llvm = import_module("llvmlite.binding")
    found = hashlib.sha256()
    for name in _SOURCES:
        found.update(Path(kernels.__file__).with_name(name).read_bytes())
    for what in (
        version("numba"),
        version("llvmlite"),
        sys.platform,
        platform.machine(),
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
        *(os.environ.get(name, "") for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_OPT")),
    ):
        found.update(b"\0" + what.encode())
    return f"kernels-{found.hexdigest()[:20]}"


def _folders() -> Iterator[Path]:
    """Where object code may be kept: as Numba does, beside compiled Python, else among the user's own files."""
    if given := os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(given)
        return
    yield Path(cache_from_source(kernels.__file__)).parent
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or ("~/Library/Caches" if sys.platform == "darwin" else "~/.cache")
    with suppress(RuntimeError):  # there may be no home
        yield Path(base).expanduser() / "sbmlump"


def kept_code(key: str) -> ObjectCode | None:
    """What was kept under that name, where it is whole."""
    for folder in _folders():
        try:
            data = (folder / f"{key}{_SUFFIX}").read_bytes()
        except OSError:
            continue
        if (found := ObjectCode.unpacked(data)) is not None:
            return found
    return None


def _writable() -> Path | None:
    for folder in _folders():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return None


# -- what is loaded --------------------------------------------------------------------------------


def loaded_code(code: ObjectCode) -> LoadedCode | None:
    """Object code brought into this process; ``None`` where that lacks a function."""
    llvm = import_module("llvmlite.binding")
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine(code.target))  # which looks into the process
    if not all(llvm.address_of_symbol(name) for name in code.needed):
        return None  # LLVM would end the process
    for one in code.objects:
        engine.add_object_file(llvm.ObjectFileRef.from_data(one))
    engine.finalize_object()
    address: Callable[[str], int] = engine.get_function_address
    entries = {name: Entry(address(code.names[name]), kinds_of(one)) for name, one in kernels.ENTRIES.items()}
    numbers = tuple(address(code.names[name]) for name in kernels.NUMBERS)
    return LoadedCode(entries, numbers, code.target, engine)


def machine(target: tuple[str, str, str]) -> Any:
    """A processor as Numba sees it, which knows of settings and of processors that say too much of themselves.

    An engine takes its own one over.
    """
    llvm = import_module("llvmlite.binding")
    _set_up()
    triple, processor, features = target
    return llvm.Target.from_triple(triple).create_target_machine(processor, features, opt=1)


@cache
def _set_up() -> None:
    llvm = import_module("llvmlite.binding")
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
