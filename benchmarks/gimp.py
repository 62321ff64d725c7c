"""What the plug-in costs in a real GIMP 3: a large layer's way there and back, and a slider's step to the preview.

The plug-in's own log has the times; `make hosts` gets the GIMP.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from host_figures import SLIDER_STEPS, parse_options, print_sliders, print_spent

LARGE = """
    image, layer = picture(64, 64, alpha=True)
    layer.scale(side, side, False)
    image.resize_to_layers()
    return paint(layer, output=output, stroke_size=stroke_size)
"""
OPEN = """
    image = Gimp.file_load(Gimp.RunMode.NONINTERACTIVE, Gio.File.new_for_path(path))
    layer = image.get_layers()[0]
    layer.scale(4096, 2731, False)
    image.resize_to_layers()
    display = Gimp.Display.new(image)
    config = Gimp.get_pdb().lookup_procedure(STYLIZE).create_config()
    config.set_property("run-mode", Gimp.RunMode.INTERACTIVE)
    config.set_property("image", image)
    config.set_core_object_array("drawables", [layer])
    Gimp.get_pdb().lookup_procedure(STYLIZE).run(config)
    display.delete()
"""


def main() -> None:
    """Run both measurements."""
    options = parse_options(__doc__)

    from hosts.gimp import Gimp, find_gimp
    from hosts.window import Screen, WindowedGimp
    from support.helpers import PICTURES, RunningServer

    installation = find_gimp()
    with RunningServer() as server:
        with Gimp(installation) as gimp:
            gimp.use(server)
            # Once in small: what a first run loads is not what is measured.
            gimp.run(LARGE, side=256, output="new-layer", stroke_size=1.0)
            for output in ("new-layer", "in-place"):
                gimp.log.unlink()
                settings = {"side": options.side, "output": output, "stroke_size": options.stroke_size}
                status = gimp.run(LARGE, timeout_s=600.0, **settings)
                assert status[0] == "success", status
                _print_stages(gimp.log.read_text(), options.side, output)
        folder = Path(tempfile.mkdtemp())
        with Screen(folder) as screen, WindowedGimp(installation, screen) as window:
            screen.window("^Welcome to GIMP")
            screen.keys("Escape")
            window.use(server)
            window.start(OPEN, path=str(shutil.copy(PICTURES / "coffee.jpg", window.folder)))
            screen.window("^AdaIN Style$")
            window.logged("connected")
            screen.keys("ctrl+f")
            screen.do("type", "great wave")
            screen.keys("Return")
            seen = window.logged("previewed 512")
            screen.keys("alt+t")
            for _step in range(SLIDER_STEPS):
                screen.keys("Down")
                seen = window.logged("previewed 512", after=seen)
            print_sliders(window.log.read_text())
            screen.keys("Escape")
        shutil.rmtree(folder)


def _print_stages(log: str, side: int, output: str) -> None:
    """The plug-in's stages; the network's is everything between the upload and the download."""
    lines = [line.split(" ", 1) for line in log.splitlines()]
    times = [(text, int(stamp) / 1000) for stamp, text in lines if stamp.isdigit()]
    computing = [at for text, at in times if re.match(r"painting (queued|style|encode|decode|enlarge)", text)]
    downloading = next(at for text, at in times if text.startswith("painting download"))
    begun, read, opened, received, painted = (
        next(at for text, at in times if text == name)
        for name in ("begun", "read", "opened", "received", "layer painted")
    )
    marks = [begun, read, opened, computing[0], downloading, received, painted]
    names = ("read", "connect, look at the style", "send", "network", "receive", "write")
    spent = {name: end - start for name, (start, end) in zip(names, pairwise(marks), strict=True)}
    print_spent(f"{side} x {side} RGBA u8, {output}", spent)


if __name__ == "__main__":
    main()
