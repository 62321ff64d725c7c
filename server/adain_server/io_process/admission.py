"""Checks before any memory is allocated: impossible requests, and more jobs than there is room for, are refused."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from adain_server.config import ServerConfig
from adain_server.errors import JobError, busy
from adain_server.io_process.job import Job
from adain_style.client import protocol
from adain_style.client.wire import PictureSpec, RegionSpec, RequestSpec, StyleFileSpec
from adain_weights.catalog import find_model, is_model_name

JOB_BYTES_A_PIXEL = 40
"""Most bytes of a job per pixel of the largest content: layer and result of 32-bit RGBA take 32, eight masks 8."""


def check_request(spec: RequestSpec, deadline_s: float | None, *, max_pixels: int) -> None:
    """Check the shapes, depths, weights and settings of an `open` message.

    Raises:
        JobError: BAD_SHAPE, BAD_DEPTH, MASK_SHAPE, TOO_LARGE, BAD_STYLE, BAD_NAME or BAD_FIELD.
    """
    content, masks = spec.content, spec.masks
    sources = [style.source for style in spec.styles]
    pictures = [content, *(source for source in sources if isinstance(source, PictureSpec))]
    for picture in (*pictures, *masks):
        _check_picture(picture)
    for mask in masks:
        if mask.layout != "Y":
            raise JobError("BAD_SHAPE", "A mask has one channel, Y.")
        if (mask.height, mask.width) != (content.height, content.width):
            raise JobError("MASK_SHAPE", "A mask has another size than the layer.")
    _check_size(spec, pictures, max_pixels)
    for source in sources:
        if isinstance(source, str):
            check_name(source)
        elif isinstance(source, StyleFileSpec) and not 0 < source.size <= protocol.MAX_STYLE_FILE_BYTES:
            raise JobError("BAD_STYLE", "A saved style's file is empty or larger than 1 MiB; save the style again.")
    for region in spec.regions:
        _check_region(region)
    if deadline_s is not None and deadline_s <= 0:
        raise JobError("BAD_FIELD", "The deadline is above 0 seconds.")
    _check_settings(spec)


def _check_size(spec: RequestSpec, pictures: list[PictureSpec], max_pixels: int) -> None:
    largest = max(picture.height * picture.width for picture in pictures)
    if largest > max_pixels:
        raise JobError(
            "TOO_LARGE",
            f"The picture has {largest / 1e6:.1f} megapixels, this server takes {max_pixels / 1e6:.1f}; scale it down, "
            "or start the server with a higher --max-megapixels.",
        )
    arriving = {picture.digest: picture for picture in (*pictures, *spec.masks)}.values()
    needed = sum(picture.size for picture in (*arriving, spec.content.scaled(spec.preview)))
    if needed > JOB_BYTES_A_PIXEL * max_pixels:
        raise JobError(
            "TOO_LARGE",
            f"The layer, its masks and styles have {needed / 1024**2:.0f} MiB, this server takes "
            f"{JOB_BYTES_A_PIXEL * max_pixels / 1024**2:.0f}; use fewer masks, or scale the layer down.",
        )


def _check_picture(picture: PictureSpec) -> None:
    if picture.layout not in protocol.LAYOUTS or picture.depth not in protocol.DEPTHS:
        raise JobError("BAD_DEPTH", "A picture's layout or depth is not one of those that PROTOCOL.md lists.")
    if min(picture.height, picture.width) < 1:
        raise JobError("BAD_SHAPE", "A picture has no rows or no columns.")


def _check_region(region: RegionSpec) -> None:
    weights = [style.weight for style in region.styles]
    if min(weights) < 0 or not 0 < sum(weights) < float("inf"):
        raise JobError("BAD_FIELD", "Style weights are at least 0 and not all 0.")
    if not 0 <= region.alpha <= 1:
        raise JobError("BAD_FIELD", "Alpha is between 0 and 1.")
    if region.preserve_color not in protocol.PRESERVE_COLOR:
        raise JobError("BAD_FIELD", f"preserve_color is one of {', '.join(protocol.PRESERVE_COLOR)}.")


def _check_settings(spec: RequestSpec) -> None:
    if not 1 <= spec.stroke_size <= protocol.MAX_STROKE_SIZE:
        raise JobError("BAD_FIELD", f"The stroke size is between 1 and {protocol.MAX_STROKE_SIZE:g}.")
    if not 0 <= spec.detail <= 1:
        raise JobError("BAD_FIELD", "The detail is between 0 and 1.")
    if spec.compose not in protocol.COMPOSE:
        raise JobError("BAD_FIELD", f"compose is one of {', '.join(protocol.COMPOSE)}.")
    if spec.compose == "cutout" and not protocol.has_alpha(spec.content.layout):
        raise JobError("BAD_FIELD", "Only a layer with an alpha channel can be cut out; add one to the layer.")
    if spec.transfer not in protocol.TRANSFER:
        raise JobError("BAD_FIELD", f"transfer is one of {', '.join(protocol.TRANSFER)}.")
    if spec.quality not in protocol.QUALITY:
        raise JobError("BAD_FIELD", f"quality is one of {', '.join(protocol.QUALITY)}.")
    if spec.sequence is not None and not 0 <= spec.sequence.smoothing < 1:
        raise JobError("BAD_FIELD", "The smoothing is at least 0 and below 1.")


def check_name(name: str) -> None:
    """Check that a style's name is a name and not a path. Raises JobError BAD_NAME."""
    if not protocol.STYLE_NAME.fullmatch(name):
        raise JobError("BAD_NAME", "A style's name has small letters, digits and hyphens only.")


def check_model(name: str, models: Path) -> None:
    """Check that a model of this name comes with the program or is in the user's folder.

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
    """Check that there is room for another job, of all clients and of this one. Raises JobError BUSY."""
    of_client = sum(job.client == client for job in jobs)
    if len(jobs) >= config.max_jobs or of_client >= config.max_client_jobs:
        raise busy()
