"""What is refused before a byte is allocated: impossible requests, and more jobs than there is room for."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from adain_client import protocol
from adain_client.protocol import Header
from adain_server.config import ServerConfig
from adain_server.errors import JobError
from adain_server.io_process.job import Job, is_picture, mask_blobs, style_sources
from adain_weights.catalog import find_model, is_model_name

JOB_BYTES_A_PIXEL = 40
"""Of the largest content: layer and result of 32-bit RGBA need 32, and leave room for eight 8-bit masks."""


def check_request(header: Header, *, max_pixels: int) -> None:
    """Shapes, depths, weights and settings of an `open`.

    Raises:
        JobError: BAD_SHAPE, BAD_DEPTH, MASK_SHAPE, TOO_LARGE, BAD_STYLE, BAD_NAME or BAD_FIELD.
    """
    content, masks = header["content"], mask_blobs(header)
    sources = list(style_sources(header))
    pictures = [content, *filter(is_picture, sources)]
    for blob in (*pictures, *masks):
        _check_picture(blob)
    for mask in masks:
        if mask["layout"] != "Y":
            raise JobError("BAD_SHAPE", "A mask has one channel, Y.")
        if (mask["height"], mask["width"]) != (content["height"], content["width"]):
            raise JobError("MASK_SHAPE", "A mask has another size than the layer.")
    _check_size(header, pictures, max_pixels)
    for source in sources:
        if isinstance(source, str):
            check_name(source)
        elif not is_picture(source) and not 0 < source["size"] <= protocol.MAX_STYLE_FILE_BYTES:
            raise JobError("BAD_STYLE", "A saved style's file is empty or larger than 1 MiB; save the style again.")
    for region in header["regions"]:
        _check_region(region)
    if header.get("deadline_s", 1.0) <= 0:
        raise JobError("BAD_FIELD", "The deadline is above 0 seconds.")
    _check_settings(header)


def _check_size(header: Header, pictures: list[dict[str, Any]], max_pixels: int) -> None:
    largest = max(blob["height"] * blob["width"] for blob in pictures)
    if largest > max_pixels:
        raise JobError(
            "TOO_LARGE",
            f"The picture has {largest / 1e6:.1f} megapixels, this server takes {max_pixels / 1e6:.1f}; scale it down, "
            "or start the server with a higher --max-megapixels.",
        )
    content = header["content"]
    height, width = protocol.result_size(content["height"], content["width"], header["preview"])
    arriving = {blob["digest"]: blob for blob in (*pictures, *mask_blobs(header))}.values()
    needed = sum(map(protocol.blob_bytes, [*arriving, {**content, "height": height, "width": width}]))
    if needed > JOB_BYTES_A_PIXEL * max_pixels:
        raise JobError(
            "TOO_LARGE",
            f"The layer, its masks and styles have {needed / 1024**2:.0f} MiB, this server takes "
            f"{JOB_BYTES_A_PIXEL * max_pixels / 1024**2:.0f}; use fewer masks, or scale the layer down.",
        )


def _check_picture(blob: dict[str, Any]) -> None:
    if blob["layout"] not in protocol.LAYOUTS or blob["depth"] not in protocol.DEPTHS:
        raise JobError("BAD_DEPTH", "A picture's layout or depth is not one of those that PROTOCOL.md lists.")
    if min(blob["height"], blob["width"]) < 1:
        raise JobError("BAD_SHAPE", "A picture has no rows or no columns.")


def _check_region(region: dict[str, Any]) -> None:
    weights = [style["weight"] for style in region["styles"]]
    if min(weights) < 0 or not 0 < sum(weights) < float("inf"):
        raise JobError("BAD_FIELD", "Style weights are at least 0 and not all 0.")
    if not 0 <= region["alpha"] <= 1:
        raise JobError("BAD_FIELD", "Alpha is between 0 and 1.")
    if region["preserve_color"] not in protocol.PRESERVE_COLOR:
        raise JobError("BAD_FIELD", f"preserve_color is one of {', '.join(protocol.PRESERVE_COLOR)}.")


def _check_settings(header: Header) -> None:
    if not 1 <= header["stroke_size"] <= protocol.MAX_STROKE_SIZE:
        raise JobError("BAD_FIELD", f"The stroke size is between 1 and {protocol.MAX_STROKE_SIZE:g}.")
    if not 0 <= header["detail"] <= 1:
        raise JobError("BAD_FIELD", "The detail is between 0 and 1.")
    if header["compose"] not in protocol.COMPOSE:
        raise JobError("BAD_FIELD", f"compose is one of {', '.join(protocol.COMPOSE)}.")
    if header["compose"] == "cutout" and not protocol.has_alpha(header["content"]["layout"]):
        raise JobError("BAD_FIELD", "Only a layer with an alpha channel can be cut out; add one to the layer.")
    if header["transfer"] not in protocol.TRANSFER:
        raise JobError("BAD_FIELD", f"transfer is one of {', '.join(protocol.TRANSFER)}.")
    if header.get("quality", protocol.QUALITY[0]) not in protocol.QUALITY:
        raise JobError("BAD_FIELD", f"quality is one of {', '.join(protocol.QUALITY)}.")
    if "sequence" in header and not 0 <= header["sequence"]["smoothing"] < 1:
        raise JobError("BAD_FIELD", "The smoothing is at least 0 and below 1.")


def check_name(name: str) -> None:
    """A style's name is a name, and never a path. Raises JobError BAD_NAME."""
    if not protocol.STYLE_NAME.fullmatch(name):
        raise JobError("BAD_NAME", "A style's name has small letters, digits and hyphens only.")


def check_model(name: str, models: Path) -> None:
    """A model's name is one that comes with the program or that the user's folder has.

    Raises:
        JobError: BAD_NAME or UNKNOWN_MODEL.
    """
    if not is_model_name(name):
        raise JobError("BAD_NAME", "A model's name has letters, digits and the signs . _ - @ only.")
    if find_model(name, models) is None:
        raise JobError(
            "UNKNOWN_MODEL", f"The server has no model '{name[:80]}' any more; choose another one, or pull it again."
        )


def check_jobs(client: bytes, jobs: Collection[Job], config: ServerConfig) -> None:
    """Jobs of all clients and of this one. Raises JobError BUSY."""
    of_client = sum(job.client == client for job in jobs)
    if len(jobs) >= config.max_jobs or of_client >= config.max_client_jobs:
        raise JobError("BUSY", "The server is busy; try again in a few seconds.", retry_after_s=2.0)
