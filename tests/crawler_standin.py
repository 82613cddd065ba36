"""A small loopback stand-in for BioModels and ODEbase, with faults on order. Nothing in it leaves 127.0.0.1."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import struct
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Fault = str | None
HTML = b"<html><body><h1>Service temporarily unavailable</h1></body></html>"


def sbml(name: str, species: int = 1) -> bytes:
    """A small model of our own: a chain of `species` decays."""
    ids = [f"S{i}" for i in range(species)]
    listed = "".join(
        f'<species id="{s}" compartment="c" initialConcentration="1" hasOnlySubstanceUnits="false" '
        f'boundaryCondition="false" constant="false"/>'
        for s in ids
    )
    reactions = "".join(
        f'<reaction id="R{i}" reversible="false" fast="false"><listOfReactants><speciesReference species="{s}" '
        f'stoichiometry="1" constant="true"/></listOfReactants><kineticLaw><math '
        f'xmlns="http://www.w3.org/1998/Math/MathML"><apply><times/><ci>c</ci><ci>k</ci><ci>{s}</ci></apply></math>'
        f"</kineticLaw></reaction>"
        for i, s in enumerate(ids)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1">'
        f'<model id="m" name="{name}"><listOfCompartments><compartment id="c" size="1" spatialDimensions="3" '
        'constant="true"/></listOfCompartments>'
        f'<listOfSpecies>{listed}</listOfSpecies><listOfParameters><parameter id="k" value="0.5" constant="true"/>'
        f"</listOfParameters><listOfReactions>{reactions}</listOfReactions></model></sbml>\n"
    ).encode()


def zipped(members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return buffer.getvalue()


def omex(model: bytes, name: str = "model/main.xml", **more: bytes) -> bytes:
    """A COMBINE archive with `model` as its master."""
    core = "http://identifiers.org/combine.specifications/"
    manifest = (
        f'<?xml version="1.0"?><omexManifest xmlns="{core}omex-manifest"><content location="." format="{core}omex"/>'
        f'<content location="./{name}" format="{core}sbml.level-3.version-1" master="true"/></omexManifest>'
    )
    return zipped({"manifest.xml": manifest.encode(), "readme.txt": b"A model.", name: model, **more})


@dataclass
class Model:
    """One entry: what its record says, and what a download brings."""

    data: bytes
    file: str | None = None
    name: str = "a model"
    sums: bool = True
    modified: str = "2024-01-01T00:00:00Z"
    revision: int = 1
    bulk: bytes | None = None
    size: int | None = None
    listed_sha256: str | None = None

    def promise(self, id: str) -> dict[str, Any]:
        """The record's line about the main file."""
        listed: dict[str, Any] = {"name": self.file or f"{id}_url.xml", "fileSize": str(self.size or len(self.data))}
        if self.sums:
            listed["md5sum"] = hashlib.md5(self.data).hexdigest()
            listed["sha256sum"] = self.listed_sha256 or hashlib.sha256(self.data).hexdigest()
        return listed


@dataclass
class StandIn:
    """The services' contents, the faults, and what was asked.

    ``fault(path, attempt)`` is asked before each answer; the path holds the query, attempts count from 1.
    """

    models: dict[str, Model] = field(default_factory=dict)
    systems: dict[str, dict[str, str]] = field(default_factory=dict)
    fault: Callable[[str, int], Fault] = lambda path, attempt: None
    etags: bool = True
    stall: float = 1.0
    delay: float = 0.0
    retry_after: str = "0"
    asked: list[str] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)
    conditional: int = 0
    active: int = 0
    peak: int = 0
    port: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _hits: Counter[str] = field(default_factory=Counter)

    @property
    def url(self) -> str:
        """Base URL of the stand-in for BioModels."""
        return f"http://127.0.0.1:{self.port}/biomodels"

    @property
    def odebase_url(self) -> str:
        """Base URL of the stand-in for ODEbase."""
        return f"http://127.0.0.1:{self.port}/odebase"

    def count(self, part: str) -> int:
        """How many requests had `part` in their path."""
        return sum(part in path for path in self.asked)

    def forget(self) -> None:
        """Begin counting anew."""
        self.asked.clear()
        self._hits.clear()

    # -- answers -------------------------------------------------------------------------------------

    def route(self, path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and body."""
        if path.startswith("/biomodels/"):
            return self._biomodels(path.removeprefix("/biomodels/"), query)
        if path.startswith("/odebase/"):
            return self._odebase(path.removeprefix("/odebase/"))
        return 404, b"{}"

    def _biomodels(self, path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        ids = sorted(self.models)
        if path == "model/identifiers":
            return _json({"hits": len(ids), "models": ids})
        if path == "search":
            start, count = int(query["offset"]), min(int(query["numResults"]), 100)
            wanted = query["query"].replace("*:*", "").lower()
            ids = [id for id in ids if wanted in self.models[id].name.lower()]
            listed = [
                {"id": id, "name": self.models[id].name, "format": "SBML", "lastModified": self.models[id].modified}
                for id in ids[start : start + count]
            ]
            return _json({"matches": len(ids), "models": listed})
        if path == "search/download":
            named = [id for id in query["models"].split(",") if id in self.models]
            return 200, zipped({f"{id}.xml": self.models[id].bulk or self.models[id].data for id in named})
        id = path.removeprefix("model/download/")
        if path.startswith("model/download/") and id in self.models:
            right = query.get("filename") == self.models[id].promise(id)["name"]
            return (200, self.models[id].data) if right else (404, b"{}")
        model = self.models.get(path)
        if model is None:
            return 404, b"{}"
        record = {"name": model.name, "files": {"main": [model.promise(path)]}, "publicationId": path}
        return _json({**record, "history": {"revisions": [{"version": v + 1} for v in range(model.revision)]}})

    def _odebase(self, path: str) -> tuple[int, bytes]:
        refs = {str(1300 + i): id for i, id in enumerate(sorted(self.systems))}
        if path == "table/":
            rows = "".join(
                f'<tr><td>{ref}</td><td><a href="/odebase/detail/{ref}">{id}</a></td><td>2</td><td>2</td><td>0</td>'
                f"<td>0</td><td></td><td>Yes</td><td>{self.systems[id].get('polynomial', 'Yes')}</td></tr>"
                for ref, id in refs.items()
            )
            return 200, f"<html><table><tbody>{rows}</tbody></table></html>".encode()
        parts = path.split("/")
        if len(parts) == 4 and parts[2] in refs:
            return 200, f"<html><body><pre>{self.systems[refs[parts[2]]][parts[1]]}</pre></body></html>".encode()
        return 404, b"{}"


def _json(value: object) -> tuple[int, bytes]:
    return 200, json.dumps(value).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        world: StandIn = self.server.world  # type: ignore[attr-defined]
        with world._lock:
            world._hits[self.path] += 1
            attempt = world._hits[self.path]
            world.asked.append(self.path)
            world.agents.add(self.headers.get("User-Agent", ""))
            world.conditional += self.headers.get("If-None-Match") is not None
            world.active += 1
            world.peak = max(world.peak, world.active)
        try:
            self._answer(world, world.fault(self.path, attempt))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with world._lock:
                world.active -= 1

    def _answer(self, world: StandIn, fault: Fault) -> None:
        time.sleep(world.delay)
        if fault in ("busy", "limit"):
            return self._send(503 if fault == "busy" else 429, b"later", {"Retry-After": world.retry_after})
        if fault == "gone":
            return self._send(404, b"{}")
        if fault and fault.startswith("http"):
            return self._send(302, b"", {"Location": fault})
        if fault == "stall":
            time.sleep(world.stall)
        parts = urlsplit(self.path)
        status, body = world.route(unquote(parts.path), {k: v[-1] for k, v in parse_qs(parts.query).items()})
        tag = {"ETag": f'"{hashlib.sha1(body).hexdigest()}"'} if world.etags else {}
        if tag and self.headers.get("If-None-Match") == tag["ETag"]:
            return self._send(304, b"", tag)
        if fault == "html":
            return self._send(200, HTML)
        if fault == "corrupt":
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        return self._send(status, body, tag, cut=fault if fault in ("short", "reset") else None)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None, cut: Fault = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status == 304:
            return
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.wfile.flush()
            self.close_connection = True
        if cut == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def serving(world: StandIn) -> Iterator[StandIn]:
    """Serve on a free port of 127.0.0.1 until left."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.world = world  # type: ignore[attr-defined]
    world.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield world
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
