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
import stat
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import cache_from_source, find_spec
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Final

from sbmlump.dynamics import kernels
from sbmlump.dynamics.arguments import Kind, Packed, kinds_of, word_types, words_of
from sbmlump.files import OutputError, lock, write_atomically

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
        """As one file: the hash of the rest, a line that says what it holds, then the objects."""
        head = {
            "sizes": [len(one) for one in self.objects],
            "names": dict(self.names),
            "needed": self.needed,
            "target": self.target,
        }
        rest = json.dumps(head).encode() + b"\n" + b"".join(self.objects)
        return hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest

    @classmethod
    def unpacked(cls, data: bytes) -> ObjectCode | None:
        """From such a file; ``None`` where it is not the one that was written."""
        digest, _, rest = data.partition(b"\n")
        if digest != hashlib.sha256(rest).hexdigest().encode():
            return None
        line, _, body = rest.partition(b"\n")
        head = json.loads(line)
        ends = [0, *accumulate(head["sizes"])]
        objects = tuple(body[low:high] for low, high in pairwise(ends))
        return cls(objects, head["names"], tuple(head["needed"]), tuple(head["target"]))


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
        RuntimeError
            If it says that it failed, which none of them is to do.
        """
        words: list[Any] = []
        for value, kind in zip(args, self._kinds, strict=True):
            if isinstance(value, Packed) and value.kind is kind:
                words += value.words
            else:
                words += words_of(value, kind)
        status = self._function(*self._places, *words)
        if status:
            raise RuntimeError(f"a compiled function ended with status {status}")


@dataclass(frozen=True, slots=True, eq=False)
class LoadedCode:
    """Object code in this process.

    Attributes
    ----------
    evaluate, follow, put_exponentials, put_sums_along : Entry
        See the functions of :mod:`sbmlump.dynamics.kernels`.
    numbers : tuple of int
        Addresses of :data:`sbmlump.dynamics.kernels.NUMBERS`.
    target : tuple of str
        What machine code of fields is made for.
    engine : object
        What frees the code when it goes.
    """

    evaluate: Entry
    follow: Entry
    put_exponentials: Entry
    put_sums_along: Entry
    numbers: tuple[int, ...]
    target: tuple[str, str, str]
    engine: object


@cache
def entry_points() -> LoadedCode | None:
    """The compiled loops; ``None`` where there are none.

    That is where Numba is not installed, is switched off (``NUMBA_DISABLE_JIT=1``) or does not go with the installed
    NumPy, and where there is no folder to keep object code in, or no source to name it by: to compile takes longer than
    most jobs. Where Numba fails to compile them, a warning says so.
    """
    if find_spec("numba") is None or os.environ.get("NUMBA_DISABLE_JIT") == "1":
        return None
    try:
        key = code_key()
    except (ImportError, OSError):  # no LLVM; installed without sources
        return None
    code = kept_code(key) or _made(key)
    return None if code is None else loaded_code(code)


def _made(key: str) -> ObjectCode | None:
    """Compiled now, and kept in the first folder that takes it."""
    folder = next(filter(_takes_files, _folders()), None)
    if folder is None:
        return None
    try:
        numba = import_module("numba")
    except ImportError:  # made for another NumPy
        return None
    if numba.config.DISABLE_JIT:  # by a file of settings
        return None
    with _alone(folder / f"{key}.lock"):
        if (kept := kept_code(key)) is not None:  # another process has made it meanwhile
            return kept
        try:
            made: ObjectCode = import_module("sbmlump.dynamics.compilation").compile_kernels()
        # a version of Numba that we do not know: NumPy does the same, more slowly
        except (ImportError, AttributeError, TypeError, RuntimeError, numba.core.errors.NumbaError) as error:
            message = f"Numba does not compile the loops of trajectories, which go by NumPy: {error!r}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
            return None
        with suppress(OutputError):  # a disk that became full meanwhile: this process has it all the same
            write_atomically(folder / f"{key}{_SUFFIX}", made.packed(), durable=False)
        return made


# -- what is kept ----------------------------------------------------------------------------------

_SUFFIX: Final = ".object-code"
_SETTINGS: Final = ".numba_config.yaml"
"""Numba reads it in the current folder."""


def code_key() -> str:
    """The name that object code is kept under: another one when anything changes that it depends on.

    Raises
    ------
    ImportError, OSError
        If LLVM or the sources of the loops are not there.
    """
    llvm = import_module("llvmlite.binding")
    try:
        features = llvm.get_host_cpu_features().flatten()
    except RuntimeError:  # LLVM does not know them for this kind of processor; Numba goes without them, too
        features = ""
    found = hashlib.sha256()
    for name in _SOURCES:
        found.update(Path(kernels.__file__).with_name(name).read_bytes())
    with suppress(OSError):  # mostly there is none
        found.update(Path(_SETTINGS).read_bytes())
    given = sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith("NUMBA_"))
    for what in (
        version("numba"),
        version("llvmlite"),
        sys.platform,
        platform.machine(),
        llvm.get_host_cpu_name(),
        features,
        *(one for one in given if not one.startswith(("NUMBA_CACHE", "NUMBA_NUM_THREADS"))),
    ):
        found.update(b"\0" + what.encode())
    return f"kernels-{found.hexdigest()[:20]}"


def _folders() -> Iterator[Path]:
    """Where object code may be kept: as Numba does, beside compiled Python, else among the user's own files."""
    if given := os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(given)
        return
    with suppress(NotImplementedError):  # a Python that keeps nothing compiled
        yield Path(cache_from_source(kernels.__file__)).parent
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or ("~/Library/Caches" if sys.platform == "darwin" else "~/.cache")
    with suppress(RuntimeError):  # there may be no home
        yield Path(base).expanduser() / "sbmlump"


def kept_code(key: str) -> ObjectCode | None:
    """What was kept under that name, where it is whole and nobody else's."""
    for folder in _folders():
        path = folder / f"{key}{_SUFFIX}"
        try:
            if not _is_trusted(path):
                continue
            data = path.read_bytes()
        except OSError:
            continue
        if (found := ObjectCode.unpacked(data)) is not None:
            return found
    return None


def _is_trusted(path: Path) -> bool:
    """Whether what lies there may be run: as the sources themselves, or a file that only this user or root changes."""
    if sys.platform == "win32" or path.parent.parent == Path(kernels.__file__).parent:
        return True
    found = path.stat()
    return found.st_uid in (0, os.geteuid()) and not found.st_mode & stat.S_IWOTH


def _takes_files(folder: Path) -> bool:
    """Whether a file can be written there: permissions alone do not say it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """No other process at the same time: what the first one makes does for all."""
    with path.open("ab") as file:
        with suppress(OSError):  # a file system without locks: each makes its own
            lock(file.fileno())
        yield


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
    places = {name: engine.get_function_address(code.names[name]) for name in (*kernels.ENTRIES, *kernels.NUMBERS)}
    if not all(places.values()):
        return None
    entries = {name: Entry(places[name], kinds_of(one)) for name, one in kernels.ENTRIES.items()}
    numbers = tuple(places[name] for name in kernels.NUMBERS)
    return LoadedCode(**entries, numbers=numbers, target=code.target, engine=engine)


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
