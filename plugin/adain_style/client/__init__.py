"""The client of the AdaIN server: the wire protocol, connections, and finding or starting a server.

It needs only the standard library, zmq and msgpack, because it runs in the hosts' own Python. For scripts and
notebooks:

- connect(): a Client of the running server, which is started when there is none.
- StylizeRequest, of Pixels and Regions: what Client.stylize() paints.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adain_style.client.client import Client
    from adain_style.client.jobs import Pixels, Region, StylizeRequest
    from adain_style.client.launcher import connect

__all__ = ["Client", "Pixels", "Region", "StylizeRequest", "connect"]
_MODULES = {"Client": "client", "Pixels": "jobs", "Region": "jobs", "StylizeRequest": "jobs", "connect": "launcher"}


def __getattr__(name: str) -> object:
    """Import these names on first use: in a host without zmq, this package's texts are still needed to say so."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
