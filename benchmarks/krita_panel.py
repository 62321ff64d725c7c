"""What the plug-in costs in a real Krita: a large layer's way there and back, how long the window does not answer, a
slider's step to the preview, and what it adds to Krita's end.

The plug-in's own log has the times; `make hosts` gets the Krita.
"""

from __future__ import annotations

import re
import signal
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from host_figures import SLIDER_STEPS, parse_options, print_sliders, print_spent
from hosts.host import Installation
from hosts.krita import Krita, KritaWithout, find_krita
from hosts.window import Screen
from support.helpers import PICTURES, RunningServer  # after the path

ENDS = 3
"""Of a Krita with the plug-in and of one without, in turns."""
LARGE = """
    document, layer = picture(side, side)
    yield from settle(document)
    panel().present()
    yield from until(lambda: panel()._styles.known)
    panel()._gallery.mark([STYLE])
    panel()._choose_styles([STYLE])
    panel()._chooser.change(stroke_size=stroke_size)
    yield 3.0
    yield from settle(document)
    inserting = []
    insert = panel()._queue._insert

    def mark(job):
        inserting.append(time.perf_counter())
        insert(job)

    panel()._queue._insert = mark
    gaps = Gaps(keep=100_000)
    panel().stylize()
    yield from until(lambda: not panel()._queue.jobs or panel()._queue.jobs[0].is_over, 600)
    yield from settle(document)
    gaps.stop()
    panel()._queue._insert = insert
    problems = [job.sentence for job in panel()._queue.jobs]
    at = inserting[0] - gaps.started
    before = max(gap for since, gap in gaps.worst if since + gap / 1000 < at)
    after = max(gap for since, gap in gaps.worst if since + gap / 1000 >= at)
    gaps = Gaps()
    action("add_new_paint_layer")
    yield from settle(document)
    yield 0.5
    return problems, before, after, gaps.stop()
"""
CONNECT = """
    panel().present()
    yield from until(lambda: panel()._styles.known)
    yield 0.5
"""
SLIDER = """
    document = Krita.instance().openDocument(path)
    document.setBatchmode(True)
    Krita.instance().activeWindow().addView(document)
    document.scaleImage(4096, 2731, 72, 72, "Bicubic")
    yield from settle(document)
    panel().present()
    yield from until(lambda: panel()._styles.known)
    panel()._choose_styles([STYLE])
    yield 5.0
    Path(log).write_text("")
    for _step in range(steps):
        # What a key does to the field.
        seen = Path(log).read_text().count("previewed 512")
        panel()._controls._alpha.field.stepBy(-1)
        yield from until(lambda: Path(log).read_text().count("previewed 512") > seen)
"""


def main() -> None:
    """Run all measurements."""
    options = parse_options(__doc__)

    installation = find_krita()
    with tempfile.TemporaryDirectory() as name, RunningServer() as server, Screen(Path(name)) as screen:
        with Krita(installation, screen) as krita:
            krita.use(server)
            krita.run(LARGE, timeout_s=120.0, side=256, stroke_size=1.0)  # what a first run loads is not measured
            krita.log.write_text("")
            problems, before, after, own = krita.run(
                LARGE, timeout_s=700.0, side=options.side, stroke_size=options.stroke_size
            )
            assert not problems, problems
            _print_stages(krita.log.read_text(), options.side)
            print(f"  the window did not answer for at most {before:.0f} ms while it was read, painted and written,")
            print(f"  {after:.0f} ms when the layer was inserted; Krita's own new, empty layer: {own:.0f} ms")
            krita.run(
                SLIDER, timeout_s=200.0, path=str(PICTURES / "coffee.jpg"), log=str(krita.log), steps=SLIDER_STEPS
            )
            print_sliders(krita.log.read_text())
        _print_ends(installation, screen, server)


def _print_stages(log: str, side: int) -> None:
    """The plug-in's stages; the network's is everything between the upload and the download."""
    times = [
        (text, int(stamp) / 1000)
        for stamp, _blank, text in (line.partition(" ") for line in log.splitlines())
        if stamp.isdigit()
    ]

    def first(pattern: str) -> float:
        return next(at for text, at in times if re.match(pattern, text))

    marks = {
        "read": (first("reading"), first("read ")),
        "send": (first("read "), first("painting (queued|style|encode|decode|enlarge)")),
        "network": (first("painting (queued|style|encode|decode|enlarge)"), first("painting download")),
        "receive": (first("painting download"), first("painted")),
        "write": (first("painted"), first("written")),
        "compare and insert": (first("written"), first("inserted")),
    }
    print_spent(f"{side} x {side} RGBA U8", {name: end - begin for name, (begin, end) in marks.items()})


def _print_ends(installation: Installation, screen: Screen, server: RunningServer) -> None:
    ends: dict[str, list[float]] = {
        "without the plug-in": [],
        "connected": [],
        "server killed": [],
        "server stopped": [],
    }
    for _turn in range(ENDS):
        for name, seconds in ends.items():
            kind = KritaWithout if name == "without the plug-in" else Krita
            with kind(installation, screen) as krita, RunningServer() as own:
                if kind is Krita:
                    krita.use(server if name == "connected" else own)
                    krita.run(CONNECT)
                if name == "server killed":
                    own.process.kill()
                    own.process.wait()
                elif name == "server stopped":
                    own.process.send_signal(signal.SIGSTOP)
                seconds.append(krita.quit())
                if name == "server stopped":
                    own.process.send_signal(signal.SIGCONT)
    without = statistics.median(ends["without the plug-in"])
    for name, seconds in ends.items():
        median = statistics.median(seconds)
        print(f"Krita's end, {name}: median {median:.2f} s of {ENDS}, {median - without:+.2f} s")


if __name__ == "__main__":
    main()
