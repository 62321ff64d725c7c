"""A Hub on this machine, as far as its client asks: repositories, downloads with their faults, and uploads."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Refusal:
    """An answer instead of what was asked for."""

    status: int
    code: str = ""
    message: str = ""
    body: bytes = b"{}"


@dataclass
class Repository:
    """What the mirror keeps of a repository.

    Attributes:
        branches: Commit of each branch.
        commits: Files of each commit.
        lfs: Whether safetensors and .pth files are large ones, which have a SHA-256.
        refusal, file_refusal: What is answered instead of anything, and instead of files.
        moved_to: The repository's new name, when this is its old one.
    """

    private: bool = False
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    lfs: bool = True
    refusal: Refusal | None = None
    file_refusal: Refusal | None = None
    moved_to: str = ""

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """Add files to those of a branch; returns the commit."""
        files = {**self.commits.get(self.branches.get(branch, ""), {}), **files}
        listing = repr([len(self.commits), *((name, sha256(data)) for name, data in sorted(files.items()))])
        commit = hashlib.sha1(listing.encode(), usedforsecurity=False).hexdigest()
        self.commits[commit] = files
        self.branches[branch] = commit
        return commit

    def at(self, revision: str) -> str | None:
        """The commit of a branch or of itself."""
        return self.branches.get(revision, revision if revision in self.commits else None)

    def is_large(self, name: str) -> bool:
        """Whether the Hub would keep it outside git."""
        return self.lfs and name.endswith((".safetensors", ".pth"))


def sha256(data: bytes) -> str:
    """Digest in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def git_oid(data: bytes) -> str:
    """Git's digest of a blob."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


class HubMirror:
    """The server; stops with its context.

    Attributes:
        repositories: By ORG/REPO.
        requests: What was asked for: "GET name" for files, "METHOD path" otherwise.
        cuts: Each of the next answers with a file ends after so many bytes, in this order.
        stall: Set while answers stop halfway and wait; `stalled` says that one does.
        altered: By name, what the next answers with this file hold instead, one for each.
        token: Who may write; None when nobody may.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        self.cuts: list[int] = []
        self.stall = False
        self.stalled = threading.Event()
        self.go_on = threading.Event()
        self.altered: dict[str, list[bytes]] = {}
        self.token: str | None = None
        self.uploads: dict[str, bytes] = {}
        mirror = self

        class Handler(_Handler):
            hub = mirror

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> HubMirror:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """From now on nothing listens at the address."""
        self.go_on.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def add(self, repo_id: str, files: dict[str, bytes]) -> Repository:
        """A repository with one commit on its main branch."""
        repository = Repository()
        repository.commit(files)
        self.repositories[repo_id] = repository
        return repository

    def fetched(self, name: str) -> int:
        """How often a file's content was asked for."""
        return self.requests.count(f"GET {name}")


class _Handler(BaseHTTPRequestHandler):
    hub: HubMirror
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing on the terminal."""

    def do_HEAD(self) -> None:
        """A file's headers."""
        self._get()

    def do_GET(self) -> None:
        """A repository's files, or a file."""
        self._get()

    def do_PUT(self) -> None:
        """A large file's content, after it was announced."""
        data = self._body()
        self.hub.uploads[sha256(data)] = data
        self._answer(200, b"")

    def do_POST(self) -> None:
        """What an upload consists of."""
        body = self._body()
        parts = self._parts()
        self.hub.requests.append(f"POST {'/'.join(parts)}")
        if self.hub.token is None or self.headers.get("authorization") != f"Bearer {self.hub.token}":
            self._refuse(Refusal(401, message="Invalid username or password."))
        elif parts == ["api", "validate-yaml"]:
            bad = "broken: [" in json.loads(body)["content"]
            answer = {"errors": [{"message": "broken"}] if bad else [], "warnings": [{"message": "empty"}]}
            self._json(answer, status=400 if bad else 200)
        elif parts == ["api", "repos", "create"]:
            self._create(json.loads(body))
        elif parts[:2] == ["api", "models"]:
            self._write(parts, body)
        else:
            self._announce(json.loads(body))

    def _get(self) -> None:
        parts = self._parts()
        api = parts[:2] == ["api", "models"]
        repo_id = "/".join(parts[2:4] if api else parts[:2])
        repository = self.hub.repositories.get(repo_id)
        if repository is None:
            self._refuse(Refusal(404, "RepoNotFound"))
        elif repository.moved_to:
            self.send_response(307)
            self.send_header("Location", self.path.replace(repo_id, repository.moved_to))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif repository.refusal:
            self._refuse(repository.refusal)
        elif (commit := repository.at(parts[5] if api and parts[4:5] else "main" if api else parts[3])) is None:
            self._refuse(Refusal(404, "RevisionNotFound"))
        elif api:
            self.hub.requests.append(f"GET {'/'.join(parts)}")
            self._json(_listing(repo_id, repository, commit))
        elif repository.file_refusal:
            self._refuse(repository.file_refusal)
        elif (name := "/".join(parts[4:])) not in repository.commits[commit]:
            self._refuse(Refusal(404, "EntryNotFound"))
        else:
            self._file(repository, commit, name)

    def _file(self, repository: Repository, commit: str, name: str) -> None:
        data = repository.commits[commit][name]
        etag = sha256(data) if repository.is_large(name) else git_oid(data)
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit}
        self.hub.requests.append(f"{self.command} {name}")
        if self.command == "GET" and self.hub.altered.get(name):
            data = self.hub.altered[name].pop(0)
        begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        self._answer(206 if begin else 200, data[begin:], headers, may_break=self.command == "GET")

    def _create(self, wanted: dict[str, Any]) -> None:
        repo_id = f"{wanted['organization']}/{wanted['name']}"
        if repo_id in self.hub.repositories:
            answer = {"error": "You already created this model repo", "url": f"{self.hub.url}/{repo_id}"}
            self._json(answer, status=409)
            return
        private = wanted.get("private", wanted.get("visibility") == "private")
        self.hub.repositories[repo_id] = repository = Repository(private=private)
        repository.commit({".gitattributes": b""})
        self._json({"url": f"{self.hub.url}/{repo_id}"})

    def _write(self, parts: list[str], body: bytes) -> None:
        repo_id, action, revision = "/".join(parts[2:4]), parts[4], parts[5]
        repository = self.hub.repositories[repo_id]
        if action == "branch":
            if revision in repository.branches:
                self._json({"error": "Reference already exists"}, status=409)
            else:
                repository.branches[revision] = repository.branches["main"]
                self._json({})
        elif action == "preupload":
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = {name: "lfs" if repository.is_large(name) else "regular" for name in names}
            self._json({"files": [{"path": n, "uploadMode": m, "shouldIgnore": False} for n, m in modes.items()]})
        else:
            files = {}
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = self.hub.uploads[value["oid"]]
            commit = repository.commit(files, revision)
            self._json({"commitUrl": f"{self.hub.url}/{repo_id}/commit/{commit}", "commitOid": commit})

    def _announce(self, wanted: dict[str, Any]) -> None:
        objects = [
            {**file, "actions": {"upload": {"href": f"{self.hub.url}/uploads/{file['oid']}"}}}
            for file in wanted["objects"]
        ]
        self._json({"transfer": "basic", "objects": objects})

    def _parts(self) -> list[str]:
        return [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def _refuse(self, refusal: Refusal) -> None:
        headers = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
        self._answer(refusal.status, refusal.body, {name: text for name, text in headers.items() if text})

    def _json(self, content: object, status: int = 200) -> None:
        self._answer(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _answer(
        self, status: int, data: bytes, headers: dict[str, str] | None = None, *, may_break: bool = False
    ) -> None:
        self.send_response(status)
        # A connection that stays open would outlive stop().
        for name, text in {**(headers or {}), "Content-Length": str(len(data)), "Connection": "close"}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command == "HEAD":
            return
        if may_break and self.hub.stall:
            self.wfile.write(data[: len(data) // 2])
            self.hub.stalled.set()
            self.hub.go_on.wait(60)
            self.close_connection = True
        elif may_break and self.hub.cuts:
            self.wfile.write(data[: self.hub.cuts.pop(0)])
            self.close_connection = True
        else:
            self.wfile.write(data)


def _listing(repo_id: str, repository: Repository, commit: str) -> dict[str, object]:
    siblings = []
    for name, data in repository.commits[commit].items():
        large = {"lfs": {"sha256": sha256(data), "size": len(data), "pointerSize": 134}}
        siblings.append(
            {
                "rfilename": name,
                "size": len(data),
                "blobId": git_oid(data),
                **(large if repository.is_large(name) else {}),
            }
        )
    return {"_id": "0", "id": repo_id, "sha": commit, "private": repository.private, "siblings": siblings}
