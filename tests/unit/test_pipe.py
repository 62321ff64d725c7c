"""The messages between the two processes come out as they went in."""

from __future__ import annotations

import pytest

from adain_server import pipe
from adain_style.client.wire import PictureSpec, StyleFileSpec

LAYER = pipe.SharedPicture(PictureSpec(b"d" * 32, 4, 5, "RGBA", "f16"), "psm_1")
STYLES: tuple[pipe.JobStyle, ...] = (
    pipe.PictureStyle(b"p" * 32, LAYER, None, 1.0),
    pipe.PictureStyle(b"p" * 32, None, b"statistics", 0.5),
    pipe.SavedStyleFile(StyleFileSpec(b"f" * 32, 7), "psm_2", 2.0),
    pipe.NamedStyle("/styles/é.png", 1.0),
)
REGIONS = (pipe.JobRegion(LAYER, STYLES, 0.5, "match"), pipe.JobRegion(None, STYLES[:1], 1.0, "none"))
MESSAGES: list[pipe.ToWorker | pipe.FromWorker] = [
    pipe.Run(
        job=b"j" * 16,
        model=("mine", 2**60),
        content=LAYER,
        result=LAYER,
        regions=REGIONS,
        stroke_size=1.0,
        detail=0.5,
        compose="blend",
        transfer="linear",
        quality="best",
        accepted=True,
        smoothing=0.8,
        previous=(b"one", b"two"),
    ),
    pipe.Cancel(b"j" * 16),
    pipe.Accept(b"j" * 16),
    pipe.Stop(),
    pipe.Ready("cpu", ("cpu", "card"), "own", ("A sentence.",), 40.5, "e" * 64),
    pipe.Unusable("Why."),
    pipe.Taken(b"j" * 16),
    pipe.StageProgress(b"j" * 16, "encode", 1, 2),
    pipe.DraftPicture(b"j" * 16, bytes(12), 2, 2, 3, 21),
    pipe.StyleMeasured(b"j" * 16, b"d" * 32, b"statistics"),
    pipe.Finished(b"j" * 16, b"d" * 32, "", (b"one",)),
    pipe.Cancelled(b"j" * 16),
    pipe.Failed(b"j" * 16, "INTERNAL", "Why."),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_message_comes_out_as_it_went_in(message: pipe.ToWorker | pipe.FromWorker) -> None:
    """Records within records, tuples as tuples, so that it can be compared."""
    assert pipe.unpack(pipe.pack(message)) == message


def test_every_message_is_tried() -> None:
    """One of each kind."""
    assert {type(message) for message in MESSAGES} == set(pipe._MESSAGES)
