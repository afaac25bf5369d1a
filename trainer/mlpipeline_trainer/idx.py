"""The IDX format of MNIST: two zero bytes, type, number of dimensions, the sizes (big-endian), the values."""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path
from typing import Any

from .errors import DataError

_UNSIGNED_BYTE = 8


def find(folder: Path, name: str) -> Path | None:
    """The file `name` in `folder`, also as `.gz`, also spelt `train-images.idx3-ubyte`."""
    for spelling in (name, name.replace("-idx", ".idx")):
        for suffix in ("", ".gz"):
            if (folder / f"{spelling}{suffix}").is_file():
                return folder / f"{spelling}{suffix}"
    return None


def read(path: Path) -> Any:
    """The file's values as a uint8 numpy array of the shape that its header gives.

    Raises:
        DataError: Unreadable, not IDX, not of bytes, truncated or too long; names the file.
    """
    import numpy as np

    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: {error}") from error
    shape = parse_header(raw, str(path))
    start = 4 + 4 * len(shape)
    if len(raw) - start != math.prod(shape):
        raise DataError(f"{path}: {len(raw) - start} bytes of values, but the header says {math.prod(shape)}")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def parse_header(raw: bytes, name: str) -> tuple[int, ...]:
    """The sizes of the dimensions; `DataError` if it does not begin like an IDX file of unsigned bytes."""
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] != _UNSIGNED_BYTE or not 1 <= raw[3] <= 4:
        raise DataError(
            f"{name}: not an IDX file of unsigned bytes (begins with {raw[:4].hex(' ') or 'nothing'})"
        )
    if len(raw) < 4 + 4 * raw[3]:
        raise DataError(f"{name}: ends within the header")
    return struct.unpack(f">{raw[3]}I", raw[4 : 4 + 4 * raw[3]])
