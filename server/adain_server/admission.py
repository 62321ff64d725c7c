"""What is refused before a byte is allocated: impossible requests, and those that there is no room for."""

from __future__ import annotations

from collections.abc import Collection

from adain_client import protocol
from adain_client.protocol import Header
from adain_server.config import ServerConfig
from adain_server.errors import JobError
from adain_server.job import Job, mask_blobs, style_blobs


def check_request(header: Header, *, max_pixels: int) -> None:
    """Shapes, weights and alphas of an `open`.

    Raises:
        JobError: BAD_SHAPE, MASK_SHAPE, TOO_LARGE or BAD_FIELD.
    """
    content, styles, masks = header["content"], style_blobs(header), mask_blobs(header)
    if any(min(blob["height"], blob["width"]) < 1 for blob in (content, *styles, *masks)):
        raise JobError("BAD_SHAPE", "A picture has no rows or no columns.")
    colours_fit = content["channels"] in (3, 4) and all(blob["channels"] == 3 for blob in styles)
    if not colours_fit or any(blob["channels"] != 1 for blob in masks):
        raise JobError("BAD_SHAPE", "A layer has 3 or 4 channels, a style 3 and a mask 1.")
    if any((mask["height"], mask["width"]) != (content["height"], content["width"]) for mask in masks):
        raise JobError("MASK_SHAPE", "A mask has another size than the layer.")
    largest = max(blob["height"] * blob["width"] for blob in (content, *styles))
    if largest > max_pixels:
        raise JobError(
            "TOO_LARGE",
            f"The picture has {largest / 1e6:.1f} megapixels, this server takes {max_pixels / 1e6:.1f}; scale it down, "
            "or start the server with a higher --max-megapixels.",
        )
    for region in header["regions"]:
        weights = [style["weight"] for style in region["styles"]]
        if min(weights) < 0 or not 0 < sum(weights) < float("inf"):
            raise JobError("BAD_FIELD", "Style weights are at least 0 and not all 0.")
        if not 0 <= region["alpha"] <= 1:
            raise JobError("BAD_FIELD", "Alpha is between 0 and 1.")


def check_room(header: Header, client: bytes, jobs: Collection[Job], config: ServerConfig) -> None:
    """Jobs and bytes of all clients and of this one. A single job is always let in. Raises JobError BUSY."""
    pixels = 2 * protocol.blob_bytes(header["content"])
    pixels += sum(map(protocol.blob_bytes, (*style_blobs(header), *mask_blobs(header))))
    held = sum(job.segment.size for job in jobs)
    of_client = sum(job.client == client for job in jobs)
    too_many = len(jobs) >= config.max_jobs or of_client >= config.max_client_jobs
    if too_many or (held and held + pixels > config.max_bytes):
        raise JobError("BUSY", "The server is busy; try again in a few seconds.", retry_after_s=2.0)
