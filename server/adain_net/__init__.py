"""The AdaIN network and its mathematics: encoder, statistics, transform, decoder, refinement and finish, in tiles.

It needs torch only, and has no sockets, no files and no globals. What most programs need:

- AdainNetwork: encoder, transform and decoder, for a picture that fits the memory.
- Stylizer: a picture of any size, in each quality, in one call.
- load_network(), load_refinement(): the networks from tensors in either layout.
"""

from adain_net.layout import load_network, load_refinement
from adain_net.network import AdainNetwork
from adain_net.stylizer import Stylizer

__all__ = ["AdainNetwork", "Stylizer", "load_network", "load_refinement"]
