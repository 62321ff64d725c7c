"""Keys for clients on other machines: the server's own pair and the list of clients. See `adain-server keys`."""

from __future__ import annotations

import argparse
import datetime
import json
import re
import stat
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import zmq
from filelock import FileLock
from zmq.utils import z85

from adain_server.errors import ServerError
from adain_style.client.connection import ConnectionInfo, make_private_folder, remote_address, write_connection_file
from adain_style.client.errors import AdainError
from adain_style.client.folders import settings_folder, write_whole

KEY_FILE = "keys.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEY_LENGTH = 40
"""Length of a CURVE key in Z85, in characters."""


@dataclass(frozen=True)
class ListedClient:
    """A client that may connect from another machine.

    Attributes:
        name: The name that the server's owner gave it.
        key: Its CURVE public key, Z85.
        made: The day on which the key was made, ISO 8601.
    """

    name: str
    key: str
    made: str


@dataclass(frozen=True)
class _Keys:
    server_key: str
    server_secret: str
    clients: tuple[ListedClient, ...]


class KeyRing:
    """The keys in a private folder, which does not hold the clients' secret keys."""

    def __init__(self, folder: Path | None = None) -> None:
        """folder: None for the user's own."""
        self._folder = settings_folder() / "server" if folder is None else folder
        self._file = self._folder / KEY_FILE
        self._listed: frozenset[bytes] = frozenset()
        self._read_at: tuple[int, int] | None = None

    def server_pair(self) -> tuple[str, bytes]:
        """The server's public key in Z85, and its secret key as CURVE takes it. Raises ServerError."""
        keys = self._read()
        if keys is None or not keys.clients:
            raise ServerError(
                "Nobody could connect from another machine yet; make a key with 'adain-server keys new NAME', then "
                "start the server again."
            )
        return keys.server_key, keys.server_secret.encode("ascii")

    def clients(self) -> tuple[ListedClient, ...]:
        """The listed clients, sorted by name. Raises ServerError."""
        keys = self._read()
        return () if keys is None else keys.clients

    def is_listed(self, key: bytes) -> bool:
        """Whether a CURVE public key, 32 bytes, is listed now. No key is listed while the file cannot be trusted."""
        try:
            status = self._file.stat()
            changed = status.st_mtime_ns, status.st_ino
            if changed != self._read_at:
                self._listed = frozenset(z85.decode(client.key) for client in self.clients())
                self._read_at = changed
        except (OSError, ServerError):
            self._listed, self._read_at = frozenset(), None
        return key in self._listed

    def add(self, name: str, endpoint: str) -> ConnectionInfo:
        """List a new client. The connection info returned is for that client only and is not kept here.

        Raises:
            ServerError: The name is invalid or taken, or the keys cannot be read or written.
        """
        if not _NAME.fullmatch(name):
            raise ServerError("A key's name has letters, digits and the signs . _ - only.")
        with self._locked():
            keys = self._read() or self._first()
            if any(client.name == name for client in keys.clients):
                raise ServerError(f"There is a key '{name}' already; revoke it first, or choose another name.")
            public, secret = (key.decode("ascii") for key in zmq.curve_keypair())
            listed = ListedClient(name, public, datetime.date.today().isoformat())
            clients = sorted((*keys.clients, listed), key=lambda client: client.name)
            self._write(_Keys(keys.server_key, keys.server_secret, tuple(clients)))
        return ConnectionInfo(endpoint, 0, keys.server_key, public, secret)

    def revoke(self, name: str) -> None:
        """Remove a client from the list, so that it cannot connect any more. Raises ServerError."""
        with self._locked():
            keys = self._read()
            kept = () if keys is None else tuple(client for client in keys.clients if client.name != name)
            if keys is None or len(kept) == len(keys.clients):
                raise ServerError(f"There is no key '{name}'; 'adain-server keys list' names those that there are.")
            self._write(_Keys(keys.server_key, keys.server_secret, kept))

    def _locked(self) -> FileLock:
        try:
            make_private_folder(self._folder)
        except OSError as error:
            raise ServerError(f"The keys need a private folder: {error}.") from None
        return FileLock(self._folder / "keys.lock")

    @staticmethod
    def _first() -> _Keys:
        public, secret = (key.decode("ascii") for key in zmq.curve_keypair())
        return _Keys(public, secret, ())

    def _read(self) -> _Keys | None:
        try:
            status = self._file.lstat()
            if sys.platform != "win32" and (not stat.S_ISREG(status.st_mode) or stat.S_IMODE(status.st_mode) & 0o077):
                raise ServerError(f"{self._file} can be read by others, so it is not trusted; run 'chmod 600' on it.")
            fields = json.loads(self._file.read_text(encoding="utf-8"))
            clients = tuple(ListedClient(**client) for client in fields.pop("clients"))
            keys = _Keys(**fields, clients=clients)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            raise self._damaged() from None
        texts = [keys.server_key, keys.server_secret, *(client.key for client in keys.clients)]
        if not all(isinstance(text, str) and len(text) == _KEY_LENGTH and text.isascii() for text in texts):
            raise self._damaged()
        return keys

    def _write(self, keys: _Keys) -> None:
        try:
            write_whole(self._file, json.dumps(asdict(keys), indent=1).encode())
        except OSError as error:
            raise ServerError(f"{self._file} cannot be written: {error.strerror}.") from None

    def _damaged(self) -> ServerError:
        return ServerError(f"{self._file} is damaged; remove it and make new keys with 'adain-server keys new NAME'.")


def main(arguments: Sequence[str]) -> int:
    """Run `adain-server keys ...`; returns the exit status."""
    options = _parser().parse_args(arguments)
    ring = KeyRing(options.keys)
    try:
        options.run(ring, options)
    except (ServerError, AdainError) as error:
        print(f"adain-server: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adain-server keys", description="Keys for clients on other machines, one for each."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    new = commands.add_parser("new", help="list a client, and write the key file that it needs")
    new.add_argument("name", metavar="NAME", help="what you call the client: a person, a machine")
    new.add_argument("--address", required=True, metavar="HOST:PORT", help="where the client finds this server")
    new.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="the key file, to be brought to that machine by a safe way and removed here (default: NAME.json)",
    )
    new.set_defaults(run=_new)
    listing = commands.add_parser("list", help="name the clients")
    listing.set_defaults(run=_list)
    revoke = commands.add_parser("revoke", help="strike a client off the list; end the server if it is connected now")
    revoke.add_argument("name", metavar="NAME")
    revoke.set_defaults(run=_revoke)
    for command in (new, listing, revoke):
        command.add_argument("--keys", type=Path, metavar="FOLDER", help="where the keys are (default: your settings)")
    return parser


def _new(ring: KeyRing, options: argparse.Namespace) -> None:
    endpoint = remote_address(options.address)
    target = options.output or Path(f"{options.name}.json")
    if target.exists():
        raise ServerError(f"{target} is there already; choose another --output.")
    info = ring.add(options.name, endpoint)
    try:
        write_connection_file(target, info)
    except OSError as error:
        ring.revoke(options.name)
        raise ServerError(f"{target} cannot be written: {error.strerror}.") from None
    print(f"{target}  bring it to the other machine by a safe way; whoever has it can paint with this server")


def _list(ring: KeyRing, _options: argparse.Namespace) -> None:
    for client in ring.clients():
        print(f"{client.name}  made {client.made}, key {client.key[:8]}...")


def _revoke(ring: KeyRing, options: argparse.Namespace) -> None:
    ring.revoke(options.name)
    print(f"{options.name} cannot connect any more; if it is connected now, end the server and start it again")
