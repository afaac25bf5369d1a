import struct
from pathlib import Path

import pytest

from mlpipeline_trainer import idx
from mlpipeline_trainer.errors import DataError
from mlpipeline_trainer.presets import mnist


@pytest.mark.parametrize(
    "name",
    [
        "train-images-idx3-ubyte",
        "train-images-idx3-ubyte.gz",
        "train-images.idx3-ubyte",
        "train-images.idx3-ubyte.gz",
    ],
)
def test_a_file_is_found_in_each_spelling(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert idx.find(tmp_path, "train-images-idx3-ubyte") == tmp_path / name


def test_a_header_gives_the_shape() -> None:
    raw = struct.pack(">4B3I", 0, 0, 8, 3, 60000, 28, 28) + b"pixels"
    assert idx.parse_header(raw, "x") == (60000, 28, 28)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "begins with nothing"),
        (b"\x1f\x8b\x08\x00rest", "not an IDX file of unsigned bytes \\(begins with 1f 8b 08 00\\)"),
        (b"<htm", "not an IDX file"),
        (struct.pack(">4BI", 0, 0, 13, 1, 5), "not an IDX file of unsigned bytes"),
        (struct.pack(">4BI", 0, 0, 8, 3, 5), "ends within the header"),
    ],
)
def test_what_is_no_idx_file_is_refused_by_name(raw: bytes, words: str) -> None:
    with pytest.raises(DataError, match=f"train: .*{words}|train: {words}"):
        idx.parse_header(raw, "train")


def test_the_data_folder_goes_before_the_images_and_must_be_complete(tmp_path: Path) -> None:
    data, baked = tmp_path / "data", tmp_path / "datasets"
    assert mnist.locate(data, baked) is None
    for folder in (baked / "mnist", data):
        folder.mkdir(parents=True)
        for name in list(mnist.FILES.values())[:-1]:
            (folder / name).touch()
    assert mnist.locate(data, baked) is None
    (baked / "mnist" / mnist.FILES["test labels"]).touch()
    assert mnist.locate(data, baked) == baked / "mnist"
    (data / f"{mnist.FILES['test labels']}.gz").touch()
    assert mnist.locate(data, baked) == data
