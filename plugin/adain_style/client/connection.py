"""Finding a server: the connection file that it writes and that clients find by themselves."""

from __future__ import annotations

import json
import os
import socket
import stat
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from adain_style.client.errors import ServerUnavailableError
from adain_style.client.folders import home_folder, write_whole
from adain_style.client.texts import _

CONNECTION_FILE_VARIABLE = "ADAIN_CONNECTION_FILE"
CONNECTION_FILE_NAME = "connection.json"
KNOCK_S = 0.3
"""How long a connection may take to be refused, in seconds."""


@dataclass(frozen=True)
class ConnectionInfo:
    """The address and keys of a server.

    Attributes:
        endpoint: A ZeroMQ endpoint, ipc or tcp.
        pid: The server's process.
        server_key: CURVE public key of the server, Z85; empty for ipc.
        client_key, client_secret: CURVE key pair that the server admits, Z85; empty for ipc.
    """

    endpoint: str
    pid: int
    server_key: str = ""
    client_key: str = ""
    client_secret: str = ""


def runtime_folder() -> Path:
    """The private folder of this user's server: socket, lock, connection file, log. Not created here.

    The session's own folder is used when it is this user's: root, with another user's environment, would leave files
    there that lock that user out.
    """
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return Path(base) / "adain-style" if base else home_folder() / "AppData" / "Local" / "adain-style"
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and _is_own(Path(base)):
        return Path(base) / "adain-style"
    return Path(tempfile.gettempdir()) / f"adain-style-{os.getuid()}"


def _is_own(folder: Path) -> bool:
    """Whether a folder is this user's, or is not there yet."""
    try:
        return folder.stat().st_uid == os.getuid()
    except FileNotFoundError:
        return True
    except OSError:
        return False


def default_connection_file() -> Path:
    """ADAIN_CONNECTION_FILE when set, else connection.json in the runtime folder."""
    if named := os.environ.get(CONNECTION_FILE_VARIABLE):
        return Path(named)
    return runtime_folder() / CONNECTION_FILE_NAME


def make_private_folder(folder: Path) -> None:
    """Create a folder that only its owner may enter, or check that an existing one is such.

    Raises:
        OSError: It cannot be created, belongs to somebody else, or is open to others.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if sys.platform == "win32":
        return
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise OSError(f"{folder} is not a folder of yours")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise OSError(f"{folder} is open to other users; run 'chmod 700 {folder}'")


def write_connection_file(path: Path, info: ConnectionInfo) -> None:
    """Write the file so that it appears whole and readable by its owner only. Raises OSError."""
    write_whole(path, json.dumps(asdict(info)).encode())


def read_connection_file(path: Path) -> ConnectionInfo:
    """Read and check a connection file.

    Raises:
        ServerUnavailableError: There is none, others can read it, it is a link, or it is damaged.
    """
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise ServerUnavailableError(
                _("{path} is not a plain file, so it is not trusted; remove it.").format(path=path)
            )
        if sys.platform != "win32" and (status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077):
            raise ServerUnavailableError(
                _("{path} can be read by other users, so it is not trusted; let only yourself read it.").format(
                    path=path
                )
            )
        fields = json.loads(path.read_text(encoding="utf-8"))
        info = ConnectionInfo(**fields)
    except FileNotFoundError:
        raise ServerUnavailableError(_("No AdaIN server is running.")) from None
    except (OSError, ValueError, TypeError):
        raise ServerUnavailableError(
            _("{path} cannot be read; remove it and start the server again.").format(path=path)
        ) from None
    keys = (info.endpoint, info.server_key, info.client_key, info.client_secret)
    if not all(isinstance(value, str) for value in keys) or not info.endpoint.startswith(("ipc://", "tcp://")):
        raise ServerUnavailableError(_("{path} is damaged; remove it and start the server again.").format(path=path))
    return info


def remote_address(address: str) -> str:
    """Return HOST:PORT as a ZeroMQ endpoint. Raises ServerUnavailableError when the address has another form."""
    host, _colon, port = address.strip().removeprefix("tcp://").rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise ServerUnavailableError(
            _("The server's address is HOST:PORT, such as studio.example:5571, not '{address}'.").format(
                address=address
            )
        )
    return f"tcp://{host}:{port}"


def remote_connection(address: str, key_file: Path) -> ConnectionInfo:
    """Return the connection to a server on another machine.

    Args:
        address: HOST:PORT.
        key_file: The file with the keys, made there with 'adain-server keys new'.
    Raises:
        ServerUnavailableError: The address is invalid, or the file is missing, damaged, open to others or has no keys.
    """
    endpoint = remote_address(address)
    if not key_file.is_file():
        raise ServerUnavailableError(
            _("There is no key file {path}; make one on the server's machine with 'adain-server keys new'.").format(
                path=key_file
            )
        )
    info = read_connection_file(key_file)
    if not (info.server_key and info.client_key and info.client_secret):
        raise ServerUnavailableError(
            _("{path} has no keys; make one on the server's machine with 'adain-server keys new'.").format(
                path=key_file
            )
        )
    return replace(info, endpoint=endpoint)


def is_deserted(endpoint: str) -> bool:
    """Whether nobody listens at a ZeroMQ endpoint, and no live server holds its lock.

    Waits KNOCK_S for another machine at most; an endpoint that does not answer is not known to be deserted.
    """
    if endpoint.startswith("ipc://"):
        path = Path(endpoint.removeprefix("ipc://"))
        return _refuses(path) and not any(map(_is_held, _locks_of(path)))
    host, _colon, port = endpoint.removeprefix("tcp://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def _refuses(path: Path) -> bool:
    if sys.platform == "win32":  # clients use tcp there
        return False
    with socket.socket(socket.AF_UNIX) as visitor:
        visitor.settimeout(KNOCK_S)
        try:
            visitor.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return True
        except OSError:
            return False
    return False


def _locks_of(path: Path) -> set[Path]:
    """The possible locks of a server whose socket is NAME.sock, or NAME.1.sock once it had to be made again."""
    return {path.with_suffix(".lock"), path.with_suffix("").with_suffix(".lock")}


def _is_held(lock: Path) -> bool:
    """Whether a process holds a lock. A free one is held for a moment; the caller knows that no server listens."""
    if sys.platform == "win32":
        return False
    import fcntl  # Windows has none

    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
