"""make demo: start a server, let a client stylize a photograph through it, say where the result is, end the server."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

PICTURES = Path(__file__).parent / "pictures"
RESULT = Path("demo") / "stylized.png"


def main() -> int:
    """Run the demo; returns the exit status."""
    # A place of its own: a server that the user runs already is left alone.
    with tempfile.TemporaryDirectory(prefix="adain-demo-") as folder:
        place = ["--connection-file", str(Path(folder) / "connection.json")]
        server = subprocess.Popen([sys.executable, "-m", "adain_server", *place], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            ready = server.stdout.readline()
            print(ready, end="", flush=True)
            if not ready:
                return 1  # the server has said why
            status = subprocess.run(
                [
                    *(sys.executable, "-m", "adain_stylize.cli", *place, "--no-start"),
                    *(str(PICTURES / "chelsea.jpg"), "--style", str(PICTURES / "van-gogh-road-to-tarascon.jpg")),
                    *("-o", str(RESULT)),
                ],
                check=False,
            ).returncode
        finally:
            server.terminate()
            server.wait()
    if status == 0:
        print(f"The stylized picture is {RESULT.resolve()}")
    return status


if __name__ == "__main__":
    sys.exit(main())
