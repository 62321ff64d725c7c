"""Files that are there whole or not at all. No torch needed."""

from __future__ import annotations

from pathlib import Path

from adain_weights.errors import WeightsError


def write_whole(path: Path, data: bytes) -> None:
    """Write beside the target and rename; its folder is made when missing. Raises WeightsError."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        if temporary.is_file():
            temporary.unlink()
        raise WeightsError(f"{path} cannot be written: {error.strerror}.") from None
