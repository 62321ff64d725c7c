"""What the measurements in the hosts have in common: their arguments, and how their figures are printed."""

from __future__ import annotations

import argparse
import re
import statistics
from collections.abc import Mapping

SLIDER_STEPS = 20


def parse_options(description: str | None) -> argparse.Namespace:
    """Side and stroke_size of the large layer."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--side", type=int, default=4096, help="of the large layer, in pixels (default: %(default)s)")
    parser.add_argument(
        "--stroke-size", type=float, default=1.0, help="1 paints every pixel; more is sooner (default: %(default)s)"
    )
    return parser.parse_args()


def print_spent(what: str, spent: Mapping[str, float]) -> None:
    """The seconds of each stage; all but "network" is the plug-in's own part."""
    total, network = sum(spent.values()), spent["network"]
    print(f"{what}: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in spent.items()))
    print(f"  the plug-in's own part: {total - network:.2f} s, {(total - network) / network:.2%} of the network's")


def print_sliders(log: str) -> None:
    """How long the last SLIDER_STEPS previews of each size took, by the plug-in's log."""
    for side in (256, 512):
        # The first ones come from choosing the style.
        steps = [float(s) for s in re.findall(rf"previewed {side} after ([0-9.]+) s", log)][-SLIDER_STEPS:]
        print(
            f"slider's step to a preview of {side} on the screen, {len(steps)} steps: median "
            f"{statistics.median(steps):.3f} s ({min(steps):.3f} to {max(steps):.3f})"
        )
