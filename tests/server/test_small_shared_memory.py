"""A machine whose /dev/shm is as small as a container's: nothing dies, and a sentence says what to do.

The server runs in a mount namespace of its own, which needs root.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from adain_style.client.errors import RequestError
from support.helpers import SERVER_COMMAND, RunningServer, random_pixels, request, works

SHM_MIB = 16
SMALL = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs -o size={SHM_MIB}m tmpfs /dev/shm && exec "$@"', "sh"]
STYLES = [("space-sun", 1.0)]


def _can_unshare() -> bool:
    return subprocess.run([*SMALL, "true"], check=False, capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not _can_unshare(), reason="a small /dev/shm needs root and mount namespaces")


@pytest.fixture
def small_server() -> Iterator[RunningServer]:
    """A server that has 16 MiB of shared memory."""
    with RunningServer(command=[*SMALL, *SERVER_COMMAND]) as running:
        yield running


def test_picture_that_never_fits_is_refused_for_good(small_server: RunningServer) -> None:
    """Layer and result need 18 MiB; the worker lives, and a smaller picture is painted."""
    with small_server.client() as client:
        with pytest.raises(RequestError, match=r"18 MiB of shared memory, and /dev/shm has 16 .* --shm-size") as caught:
            client.stylize(request(random_pixels(1536, 2048), STYLES))
        assert caught.value.code == "TOO_LARGE" and not caught.value.retryable
    assert works(small_server)
    with small_server.client() as client:
        assert client.status().worker_starts == 1


def test_clients_that_do_not_fit_together_are_all_served(small_server: RunningServer) -> None:
    """Four layers of 3 MiB with results of 3 MiB at a time: each is painted, though others have to wait."""

    def paint(seed: int) -> int:
        with small_server.client() as client:
            while True:
                try:
                    return client.stylize(request(random_pixels(1024, 1024, seed=seed), STYLES)).pixels.height
                except RequestError as error:
                    assert error.code == "BUSY" and error.retryable
                    time.sleep(0.2)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(paint, range(4))) == [1024] * 4
    with small_server.client() as client:
        assert client.status().worker_starts == 1
