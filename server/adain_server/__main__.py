"""python -m adain_server: the same as adain-server."""

import sys

from adain_server.cli import main

if __name__ == "__main__":
    sys.exit(main())
