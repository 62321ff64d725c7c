"""Jobs through a real server process: right results, several clients, cancel, and every refusal."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adain_net.network import AdainNetwork
from adain_style.client import protocol
from adain_style.client.client import Client
from adain_style.client.errors import CancelledError, RequestError
from adain_style.client.jobs import Pixels, Progress, Region, StylizeJob, StylizeRequest
from support.helpers import (
    RunningServer,
    array_pixels,
    picture_pixels,
    pixels_array,
    pixels_tensor,
    random_pixels,
    request,
)
from support.raw_peer import RawPeer

STYLE = "van-gogh-road-to-tarascon.jpg"


def test_hello_says_who_answers(client: Client) -> None:
    """The server names its version, device and model, and is ready."""
    info = client.hello()
    assert info.ready and info.device.startswith("cpu") and info.model and info.server
    assert len(info.boot) == 16 and info.max_pixels > 1_000_000 and info.max_styles == protocol.MAX_STYLES
    assert info.idle_timeout_s == 0.0  # it does not end by itself


def test_result_is_the_networks(client: Client, network: AdainNetwork) -> None:
    """What comes over the wire is what the network paints in this process, to one level."""
    content, first = picture_pixels("chelsea.jpg", side=96), picture_pixels(STYLE, side=96)
    second = picture_pixels("coffee.jpg", side=96)
    result = client.stylize(request(content, [(first, 3.0), (second, 1.0)]))
    styles = [pixels_tensor(first), pixels_tensor(second)]
    expected = network.stylize(pixels_tensor(content), styles, style_weights=[3, 1])
    painted = pixels_tensor(result.pixels)
    assert float((painted - expected).abs().max()) <= 1.01 / 255


def test_progress_ends_with_the_download(client: Client) -> None:
    """Stages come in order, each step at most the steps, the last one complete."""
    seen: list[Progress] = []
    client.stylize(request(random_pixels(40, 40), [(random_pixels(40, 40, seed=1), 1.0)]), on_progress=seen.append)
    order = ["upload", "loading", "queued", "style", "encode", "decode", "download"]
    positions = [order.index(progress.stage) for progress in seen]
    assert positions == sorted(positions)
    assert seen[-1].stage == "download" and seen[-1].step == seen[-1].steps
    assert all(progress.step <= progress.steps for progress in seen)


@pytest.mark.fault(42)
def test_several_chunks_arrive_whole(client: Client) -> None:
    """A picture of more chunks than the window: with an empty mask it comes back bit for bit."""
    content = random_pixels(2500, 2500)
    nothing = Pixels(bytes(2500 * 2500), 2500, 2500, "Y")
    wanted = request(content, [(random_pixels(16, 16), 1.0)], mask=nothing)
    assert client.stylize(wanted).pixels == content


@pytest.mark.fault(36)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 13), (17, 1), (31, 47)])
def test_odd_sizes_come_back_exactly(client: Client, height: int, width: int) -> None:
    """One pixel, one row, one column, primes."""
    content = random_pixels(height, width)
    result = client.stylize(request(content, [(random_pixels(20, 20), 1.0)]))
    assert (result.pixels.height, result.pixels.width) == (height, width)


@pytest.mark.fault(40)
def test_alpha_channel_comes_back_unchanged(client: Client) -> None:
    """RGBA in, RGBA out, with the very alpha; the colours are painted."""
    content = random_pixels(48, 56, "RGBA")
    result = pixels_array(client.stylize(request(content, [(picture_pixels(STYLE, side=64), 1.0)])).pixels)
    before = pixels_array(content)
    assert np.array_equal(result[:, :, 3], before[:, :, 3])
    assert not np.array_equal(result[:, :, :3], before[:, :, :3])


def test_hidden_colours_have_no_influence(client: Client) -> None:
    """What lies under transparent pixels changes no visible one, neither through statistics nor as a neighbour."""
    photo = picture_pixels("chelsea.jpg", side=96)
    layer = np.dstack([pixels_array(photo), np.zeros((photo.height, photo.width), dtype=np.uint8)])
    layer[10:80, 20:110, 3] = 255
    layer[80:84, 20:110, 3] = 90
    hidden = layer[:, :, 3] == 0
    results = []
    for colour in ((0, 0, 0), (255, 0, 255)):
        layer[hidden, :3] = colour
        content = array_pixels(layer, "RGBA")
        result = pixels_array(client.stylize(request(content, [(picture_pixels(STYLE, side=64), 1.0)])).pixels)
        assert np.array_equal(result[:, :, 3], layer[:, :, 3])
        results.append(result[~hidden].astype(int))
    assert np.abs(results[0] - results[1]).max() <= 1


@pytest.mark.fault(40)
def test_fully_transparent_layer_comes_back(client: Client) -> None:
    """Nothing is seen, so nothing is painted: bit for bit."""
    layer = random_pixels(30, 20, "RGBA")
    pixels = np.array(pixels_array(layer))
    pixels[:, :, 3] = 0
    content = array_pixels(pixels, "RGBA")
    assert client.stylize(request(content, [(random_pixels(20, 20), 1.0)])).pixels == content


def test_mask_keeps_the_outside_bit_for_bit(client: Client) -> None:
    """Where the mask is 0 nothing changes; where it is 255 the picture is painted; in between it is between."""
    content = picture_pixels("chelsea.jpg", side=96)
    mask = np.zeros((content.height, content.width, 1), dtype=np.uint8)
    mask[20:60, 30:90], mask[60:64, 30:90] = 255, 128
    selection = array_pixels(mask, "Y")
    wanted = request(content, [(picture_pixels(STYLE, side=96), 1.0)], mask=selection)
    result, before = pixels_array(client.stylize(wanted).pixels), pixels_array(content)
    outside = mask[:, :, 0] == 0
    assert np.array_equal(result[outside], before[outside])
    assert np.abs(result[20:60, 30:90].astype(int) - before[20:60, 30:90]).mean() > 5
    soft = np.abs(result[60:64, 30:90].astype(int) - before[60:64, 30:90]).mean()
    assert 0 < soft < np.abs(result[56:60, 30:90].astype(int) - before[56:60, 30:90]).mean() * 1.5


def test_two_regions_get_their_own_styles_in_one_job(client: Client) -> None:
    """Each half as if it were selected alone; a third, empty region changes nothing; the rest stays bit for bit."""
    content, style, other = (picture_pixels(name, side=96) for name in ("chelsea.jpg", STYLE, "coffee.jpg"))
    masks = [np.zeros((content.height, content.width, 1), dtype=np.uint8) for _ in range(3)]
    masks[0][:, :32], masks[1][:, 104:] = 255, 255
    pixels = [array_pixels(mask, "Y") for mask in masks]
    regions = [Region([(style, 1.0)], mask=pixels[0]), Region([(other, 1.0)], alpha=0.7, mask=pixels[1])]
    third = Region([(style, 1.0)], mask=pixels[2])
    together = pixels_array(client.stylize(StylizeRequest(content, [*regions, third])).pixels)
    for region, mask in zip(regions, masks, strict=False):
        alone = pixels_array(client.stylize(StylizeRequest(content, [region])).pixels)
        inside = mask[:, :, 0] == 255
        # 72 columns lie between the two: each looks four cells of 8 pixels beyond its edge, and none is in both views.
        assert np.abs(together[inside].astype(int) - alone[inside]).max() <= 1
    outside = (masks[0] + masks[1])[:, :, 0] == 0
    assert np.array_equal(together[outside], pixels_array(content)[outside])


def test_two_clients_at_once_get_their_own_results(server: RunningServer, network: AdainNetwork) -> None:
    """Two clients with different pictures, at the same moment, three times each: each gets its own."""
    style = picture_pixels(STYLE, side=64)
    contents = [random_pixels(64, 64, seed=seed) for seed in (1, 2)]
    expected = [network.stylize(pixels_tensor(content), [pixels_tensor(style)]) for content in contents]
    worst = [0.0, 0.0]

    def work(index: int) -> None:
        content = contents[index]
        with server.client() as own:
            for _ in range(3):
                result = own.stylize(request(content, [(style, 1.0)]))
                painted = pixels_tensor(result.pixels)
                worst[index] = max(worst[index], float((painted - expected[index]).abs().max()))

    threads = [threading.Thread(target=work, args=(index,)) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 < max(worst) <= 1.01 / 255
    assert float((expected[0] - expected[1]).abs().max()) > 0.05  # the two results do differ


@pytest.mark.fault(48)
def test_clients_take_turns(server: RunningServer) -> None:
    """A client with one job does not wait for all of another's."""
    finished: list[str] = []
    style = picture_pixels(STYLE, side=64)

    def work(name: str, delay_s: float) -> None:
        time.sleep(delay_s)
        with server.client() as own:
            own.stylize(request(random_pixels(256, 256, seed=hash(name) % 1000), [(style, 1.0)]))
        finished.append(name)

    with RawPeer(server) as greedy:
        jobs = [StylizeJob(request(random_pixels(256, 256, seed=s), [(style, 1.0)])) for s in range(4)]
        for job in jobs:
            greedy.upload(job)
        thread = threading.Thread(target=work, args=("modest", 0.0))
        thread.start()
        while not all(job.finished for job in jobs):
            greedy.serve(jobs)
            finished.extend(
                f"greedy {i}" for i, job in enumerate(jobs) if job.finished and f"greedy {i}" not in finished
            )
        thread.join()
    assert finished.index("modest") < len(finished) - 1


@pytest.mark.fault(55)
def test_cancel_ends_the_job_and_frees_the_server(client: Client) -> None:
    """A job that is cancelled while it runs raises CancelledError; the next job works."""
    stages: list[str] = []
    big = request(random_pixels(900, 900), [(random_pixels(64, 64, seed=5), 1.0)])
    started = time.monotonic()
    with pytest.raises(CancelledError):
        client.stylize(big, on_progress=lambda p: stages.append(p.stage), cancelled=lambda: "encode" in stages)
    assert "decode" not in stages
    assert time.monotonic() - started < 60
    small = request(random_pixels(16, 16), [(random_pixels(16, 16), 1.0)])
    assert len(client.stylize(small).pixels.data) == 16 * 16 * 3


@pytest.mark.fault(55, 79)
def test_cancel_before_the_upload_is_over(server: RunningServer) -> None:
    """A job is cancelled between open and upload: confirmed once, then unknown."""
    with RawPeer(server) as peer:
        job = StylizeJob(request(random_pixels(32, 32), [(random_pixels(32, 32), 1.0)]))
        assert peer.ask(*job.open())["op"] == "grant"
        assert peer.ask(*job.cancel())["op"] == "cancelled"
        assert peer.ask(*job.cancel())["code"] == "ALREADY_DONE"
        assert peer.ask([protocol.pack("cancel", job=b"?" * 16)])["code"] == "UNKNOWN_JOB"


def test_known_style_is_not_asked_for_again(server: RunningServer) -> None:
    """After one job with a style, the next job's grant needs the content only."""
    style = random_pixels(40, 50, seed=77)
    with server.client() as first:
        first.stylize(request(random_pixels(24, 24, seed=1), [(style, 1.0)]))
    content = random_pixels(24, 24, seed=2)
    with RawPeer(server) as peer:
        grant = peer.ask(*StylizeJob(request(content, [(style, 1.0)])).open())
    assert grant["need"] == [content.digest]


def test_same_picture_as_content_and_style(client: Client, network: AdainNetwork) -> None:
    """One upload serves both; a picture in its own style is what encoder and decoder make of it; alpha 0 is itself."""
    picture = picture_pixels("coffee.jpg", side=64)
    own = pixels_tensor(client.stylize(request(picture, [(picture, 1.0)])).pixels)
    same = pixels_array(client.stylize(request(picture, [(picture, 1.0)], alpha=0.0)).pixels)
    expected = network.stylize(pixels_tensor(picture), [pixels_tensor(picture)], alpha=0.0)
    assert float((own - expected).abs().max()) <= 2.01 / 255
    assert np.array_equal(same, pixels_array(picture))


SETTINGS: dict[str, object] = {
    "model": "",
    "stroke_size": 1.0,
    "detail": 0.5,
    "preview": 0,
    "compose": "blend",
    "transfer": "srgb",
}


def _open(*, job: bytes = b"j" * 16, content: dict[str, object] | None = None, **changes: object) -> list[bytes]:
    """An `open` of one region; changes are the region's or the settings'."""
    blob = asdict(random_pixels(8, 8).spec)
    region = {
        "mask": None,
        "styles": [{"source": blob, "weight": 1.0}],
        "alpha": 1.0,
        "preserve_color": "none",
        **{name: value for name, value in changes.items() if name not in {*SETTINGS, "sequence"}},
    }
    settings = {name: changes.get(name, value) for name, value in SETTINGS.items()}
    if "sequence" in changes:
        settings["sequence"] = changes["sequence"]
    return [protocol.pack("open", job=job, content=content or blob, regions=[region], **settings)]


_BLOB = asdict(random_pixels(8, 8).spec)
REFUSED = {
    "no rows": ({"content": {**_BLOB, "height": 0}}, "BAD_SHAPE"),
    "no columns": ({"content": {**_BLOB, "width": 0}}, "BAD_SHAPE"),
    "fewer rows than none": ({"content": {**_BLOB, "height": -1}}, "BAD_FIELD"),
    "fewer columns than none": ({"content": {**_BLOB, "width": -(2**31)}}, "BAD_FIELD"),
    "rows and columns below none": ({"content": {**_BLOB, "height": -8, "width": -8}}, "BAD_FIELD"),
    "style without columns": ({"styles": [{"source": {**_BLOB, "width": 0}, "weight": 1.0}]}, "BAD_SHAPE"),
    "style with fewer than none": ({"styles": [{"source": {**_BLOB, "height": -1}, "weight": 1.0}]}, "BAD_FIELD"),
    "mask without rows": ({"mask": {**_BLOB, "layout": "Y", "height": 0}}, "BAD_SHAPE"),
    "mask with fewer than none": ({"mask": {**_BLOB, "layout": "Y", "height": -1}}, "BAD_FIELD"),
    "more rows than a number of the wire": ({"content": {**_BLOB, "height": 2**53 + 1}}, "BAD_FIELD"),
    "unknown layout": ({"content": {**_BLOB, "layout": "CMYK"}}, "BAD_DEPTH"),
    "unknown depth": ({"content": {**_BLOB, "depth": "f64"}}, "BAD_DEPTH"),
    "unknown depth of a style": ({"styles": [{"source": {**_BLOB, "depth": ""}, "weight": 1.0}]}, "BAD_DEPTH"),
    "mask with colours": ({"mask": _BLOB}, "BAD_SHAPE"),
    "mask of another size": ({"mask": {**_BLOB, "layout": "Y", "width": 9}}, "MASK_SHAPE"),
    "beyond every limit": ({"content": {**_BLOB, "height": 2**32, "width": 2**20}}, "TOO_LARGE"),
    "product overflows 64 bits": ({"content": {**_BLOB, "height": 2**53, "width": 2**53}}, "TOO_LARGE"),
    "style beyond every limit": ({"styles": [{"source": {**_BLOB, "height": 2**32}, "weight": 1.0}]}, "TOO_LARGE"),
    "negative weight": ({"styles": [{"source": _BLOB, "weight": -1.0}, {"source": _BLOB, "weight": 2.0}]}, "BAD_FIELD"),
    "no weight": ({"styles": [{"source": _BLOB, "weight": 0.0}]}, "BAD_FIELD"),
    "alpha above 1": ({"alpha": 1.5}, "BAD_FIELD"),
    "weight that is not a number": ({"styles": [{"source": _BLOB, "weight": float("nan")}]}, "BAD_FIELD"),
    "unknown way to keep colours": ({"preserve_color": "mach"}, "BAD_FIELD"),
    "stroke below 1": ({"stroke_size": 0.5}, "BAD_FIELD"),
    "stroke above the limit": ({"stroke_size": 33.0}, "BAD_FIELD"),
    "detail above 1": ({"detail": 1.1}, "BAD_FIELD"),
    "unknown way to compose": ({"compose": "paste"}, "BAD_FIELD"),
    "cutout without alpha": ({"compose": "cutout"}, "BAD_FIELD"),
    "unknown coding": ({"transfer": "gamma"}, "BAD_FIELD"),
    "unknown model": ({"model": "no-such-model"}, "UNKNOWN_MODEL"),
    "path as a model": ({"model": "../mine"}, "BAD_NAME"),
    "smoothing of 1": ({"sequence": {"id": b"s" * 16, "smoothing": 1.0}}, "BAD_FIELD"),
    "name of no style": ({"styles": [{"source": "no-such-style", "weight": 1.0}]}, "UNKNOWN_STYLE"),
    **{
        f"name {name!r}": ({"styles": [{"source": name, "weight": 1.0}]}, "BAD_NAME")
        for name in ("", "../secret", "/etc/passwd", "a\0b", "http://x", "A", "-a")
    },
    "empty style file": ({"styles": [{"source": {"digest": b"d" * 32, "size": 0}, "weight": 1.0}]}, "BAD_STYLE"),
    "huge style file": ({"styles": [{"source": {"digest": b"d" * 32, "size": 2**21}, "weight": 1.0}]}, "BAD_STYLE"),
}


@pytest.mark.fault(31, 34, 35, 37, 38, 41)
@pytest.mark.parametrize(("changes", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_impossible_job_is_refused_before_its_upload(server: RunningServer, changes: dict[str, Any], code: str) -> None:
    """A typed error with a sentence; the server goes on answering."""
    with RawPeer(server) as peer:
        answer = peer.ask(_open(**changes))
        assert (answer["op"], answer["code"]) == ("error", code)
        assert answer["message"].endswith(".") and answer["retryable"] is protocol.ERRORS[code]
        assert peer.ask([protocol.pack("hello", client="test")])["op"] == "welcome"


@pytest.mark.fault(57, 58, 79)
def test_job_id_with_other_contents_is_a_conflict(server: RunningServer) -> None:
    """The same id with the same contents attaches; with others it is refused and the first job lives."""
    with RawPeer(server) as peer:
        assert peer.ask(_open())["op"] == "grant"
        assert peer.ask(_open())["op"] == "grant"
        assert peer.ask(_open(alpha=0.5))["code"] == "ID_CONFLICT"
        assert peer.ask(_open(transfer="linear"))["code"] == "ID_CONFLICT"
        assert peer.ask([protocol.pack("cancel", job=b"j" * 16)])["op"] == "cancelled"


@pytest.mark.fault(79)
def test_another_clients_job_is_unknown(server: RunningServer) -> None:
    """A peer cannot cancel what it did not open."""
    with RawPeer(server) as owner, RawPeer(server) as other:
        assert owner.ask(_open(job=b"o" * 16))["op"] == "grant"
        assert other.ask([protocol.pack("cancel", job=b"o" * 16)])["code"] == "UNKNOWN_JOB"
        assert owner.ask([protocol.pack("cancel", job=b"o" * 16)])["op"] == "cancelled"


@pytest.mark.fault(47, 49)
def test_too_many_jobs_of_one_client_are_busy(server: RunningServer) -> None:
    """Beyond its share a client is told when to try again; another client is served."""
    with RawPeer(server) as greedy, RawPeer(server) as modest:
        answers = [greedy.ask(_open(job=bytes([65 + index]) * 16)) for index in range(9)]
        assert [answer["op"] for answer in answers[:8]] == ["grant"] * 8
        assert answers[8]["code"] == "BUSY" and answers[8]["retryable"] and answers[8]["retry_after_s"] > 0
        assert modest.ask(_open(job=b"m" * 16))["op"] == "grant"
        for index in range(8):
            greedy.ask([protocol.pack("cancel", job=bytes([65 + index]) * 16)])
        modest.ask([protocol.pack("cancel", job=b"m" * 16)])


def test_request_error_carries_the_servers_sentence(client: Client) -> None:
    """What the server says reaches the user of the client."""
    with pytest.raises(RequestError, match="at least 0") as caught:
        client.stylize(request(random_pixels(8, 8), [(random_pixels(8, 8), -1.0)]))
    assert caught.value.code == "BAD_FIELD" and not caught.value.retryable


def test_pixels_that_do_not_fit_their_shape_are_refused() -> None:
    """A caller's mistake is found before anything is sent."""
    with pytest.raises(ValueError, match="not a picture"):
        Pixels(b"x" * 11, 2, 2)


def test_torch_is_not_in_the_io_process(server: RunningServer) -> None:
    """Only the worker computes: the I/O process has not mapped torch's library."""
    assert "libtorch" not in Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "libtorch" in Path(f"/proc/{server.worker_pid()}/maps").read_text()


@pytest.mark.fault(57, 79)
def test_fetched_job_is_never_painted_again(server: RunningServer) -> None:
    """Its `open` comes once more, from its client and from a stranger who has recorded it: ALREADY_DONE."""
    job = StylizeJob(request(random_pixels(24, 24), [(random_pixels(24, 24, seed=1), 1.0)]))
    with RawPeer(server) as peer, RawPeer(server) as stranger:
        peer.upload(job)
        while not job.finished:
            peer.serve([job])
        assert job.result is not None
        for each in (peer, stranger):
            assert each.ask(*job.open())["code"] == "ALREADY_DONE"


@pytest.mark.fault(56)
def test_job_that_waits_too_long_is_not_begun() -> None:
    """EXPIRED, which may be tried again; it never ran."""
    with RunningServer() as own, RawPeer(own) as peer:
        long = StylizeJob(request(random_pixels(900, 900), [(random_pixels(64, 64, seed=1), 1.0)], stroke_size=1.0))
        late = StylizeJob(request(random_pixels(24, 24), [(random_pixels(24, 24, seed=1), 1.0)]))
        peer.upload(long)
        peer.send(late.open(deadline_s=0.3)[0])
        seen = []
        while not late.finished:
            header, payload = protocol.unpack(peer.socket.recv_multipart(), protocol.FROM_SERVER)
            for each in (long, late):
                if header.get("job") == each.job_id:
                    for message in each.receive(header, payload):
                        peer.send(message)
            if header.get("job") == late.job_id and header["op"] == "progress":
                seen.append(header["stage"])
        assert isinstance(late.error, RequestError)
        assert late.error.code == "EXPIRED" and late.error.retryable and set(seen) <= {"upload", "queued"}


@pytest.mark.fault(37)
def test_more_bytes_than_the_server_takes_are_refused_before_the_upload() -> None:
    """A layer of few pixels with many deep masks: TOO_LARGE, and a sentence that says what to do."""
    masks = [Pixels(bytes([n]) * 4 * 100 * 100, 100, 100, "Y", "f32") for n in range(16)]
    styles = [("van-gogh-bridge", 1.0)]
    wanted = StylizeRequest(
        Pixels(bytes(16 * 100 * 100), 100, 100, "RGBA", "f32"), [Region(styles, mask=mask) for mask in masks]
    )
    with RunningServer("--max-megapixels", "0.01") as own, RawPeer(own) as peer:
        answer = peer.ask(*StylizeJob(wanted).open())
        assert answer["code"] == "TOO_LARGE" and "fewer masks" in answer["message"]
