import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from mlpipeline_trainer import checkpoints, idx, storage
from mlpipeline_trainer.errors import DataError
from mlpipeline_trainer.presets import mnist
from mlpipeline_trainer.reporter import Recorder

from .conftest import Folder

Digits = Callable[..., Path]


def write(path: Path, shape: tuple[int, ...], values: bytes) -> None:
    path.write_bytes(struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape) + values)


def test_the_preset_learns_and_hands_back_metrics_and_a_model(
    folder: Folder, digits: Digits, capsys: pytest.CaptureFixture[str]
) -> None:
    code = folder.run(
        "run", "--preset", "mnist", "--data-uri", str(digits(1024)), "-p", "epochs=4", "-p", "lr=0.01"
    )
    result = folder.result()
    assert code == 0, capsys.readouterr().err
    assert result["state"] == "Succeeded"
    assert set(result["metrics"]) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert float(result["metrics"]["val_accuracy"]) > 0.9
    assert result["epochs"] == 4
    assert [entry["epoch"] for entry in result["history"]] == [1, 2, 3, 4]
    assert result["metrics"]["val_accuracy"] == result["history"][-1]["val_accuracy"]
    assert folder.result("log") == result
    assert sorted(p.name for p in folder.path.iterdir()) == ["log", "model", "result.json"]


def test_the_saved_model_is_the_one_that_was_evaluated_and_its_digest_holds(
    folder: Folder, digits: Digits
) -> None:
    data = digits()
    assert folder.run("run", "--preset", "mnist", "--data-uri", str(data), "-p", "epochs=1") == 0
    result = folder.result()
    path = Path(result["model"]["uri"])
    assert path == folder.path / "model" / "model.keras"
    assert storage.digest(path.parent, [path]) == result["model"]["digest"]
    assert path.stat().st_size == result["model"]["bytes"]
    images, labels = mnist.load(data)[1]
    loss, accuracy = keras.saving.load_model(path).evaluate(images, labels, verbose=0)
    assert accuracy == pytest.approx(float(result["metrics"]["val_accuracy"]))
    assert loss == pytest.approx(float(result["metrics"]["val_loss"]), rel=1e-4)


def test_the_same_seed_gives_the_same_metrics_and_another_seed_others(folder: Folder, digits: Digits) -> None:
    data, seen = str(digits()), []
    for seed in ("7", "7", "8"):
        assert (
            folder.run("run", "--preset", "mnist", "--data-uri", data, "-p", "epochs=1", "-p", f"seed={seed}")
            == 0
        )
        seen.append(folder.result()["metrics"]["val_loss"])
    assert float(seen[0]) == pytest.approx(float(seen[1]), rel=1e-5)
    assert float(seen[2]) != pytest.approx(float(seen[0]), rel=1e-5)


def test_another_attempt_goes_on_from_the_last_epoch(
    folder: Folder, digits: Digits, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ("run", "--preset", "mnist", "--data-uri", str(digits()), "-p", "epochs=3")
    original = Recorder.epoch_end

    def dies_in_epoch_3(self: Recorder, epoch: int, metrics: dict[str, Any]) -> None:
        if epoch == 3:
            raise OSError("the node went away")
        original(self, epoch, metrics)

    with monkeypatch.context() as patched:
        patched.setattr(Recorder, "epoch_end", dies_in_epoch_3)
        patched.setattr(checkpoints, "SHARE", 1000)
        assert folder.run(*args) != 0
    first = folder.result()
    assert [entry["epoch"] for entry in first["history"]] == [1, 2]
    capsys.readouterr()

    assert folder.run(*args) == 0
    printed = capsys.readouterr()
    assert "going on after epoch 2" in printed.err
    assert "Epoch 3/3" in printed.out
    assert "Epoch 2/3" not in printed.out
    second = folder.result()
    assert (second["epochs"], second["resumedFromEpoch"]) == (3, 2)
    assert second["history"][:2] == first["history"]
    assert not any((folder.path / "checkpoints").iterdir())


def test_a_retry_after_a_failed_upload_does_not_train_again(
    folder: Folder, digits: Digits, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ("run", "--preset", "mnist", "--data-uri", str(digits()), "-p", "epochs=2", "--model-uri")
    folder.write("in_the_way", "")
    assert folder.run(*args, "in_the_way/model") == 4
    assert folder.result()["failure"]["reason"] == "ModelError"
    trained = folder.result()["metrics"]
    capsys.readouterr()

    assert folder.run(*args, "out") == 0
    assert "Epoch" not in capsys.readouterr().out
    result = folder.result()
    assert result["epochs"] == 2
    again = {name: float(value) for name, value in result["metrics"].items()}
    assert again == pytest.approx({name: float(value) for name, value in trained.items()}, rel=1e-4)
    assert result["model"]["uri"] == str(folder.path / "out" / "model.keras")


def test_other_parameters_do_not_go_on_from_the_checkpoint(
    folder: Folder, digits: Digits, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.write("in_the_way", "")
    args = ("run", "--preset", "mnist", "--data-uri", str(digits()), "-p", "epochs=2", "--model-uri")
    assert folder.run(*args, "in_the_way/model") == 4
    capsys.readouterr()
    assert folder.run(*args, "out", "-p", "lr=0.01") == 0
    assert "Epoch 1/2" in capsys.readouterr().out


def test_the_images_data_set_is_used_where_no_data_is_given(folder: Folder, digits: Digits) -> None:
    baked = folder.path / "datasets"
    baked.mkdir()
    (baked / "mnist").symlink_to(digits())
    os.environ |= {
        "MLP_DATASET": "mnist",
        "MLP_DATASETS_DIR": str(baked),
        "MLP_PARAMETERS": '{"epochs": "1"}',
    }
    assert folder.run("run") == 0
    assert folder.result()["epochs"] == 1


def test_data_given_by_uri_is_never_replaced_by_the_images(folder: Folder, digits: Digits) -> None:
    (folder.path / "empty").mkdir()
    (folder.path / "datasets").mkdir()
    (folder.path / "datasets" / "mnist").symlink_to(digits())
    os.environ["MLP_DATASETS_DIR"] = "datasets"
    assert folder.run("run", "--preset", "mnist", "--data-uri", "empty") == 3
    message = folder.result()["failure"]["message"]
    assert "empty holds no train-images-idx3-ubyte" in message


def test_gzip_and_the_other_spelling_give_the_same_images(digits: Digits, tmp_path: Path) -> None:
    source = digits()
    for name in mnist.FILES.values():
        (tmp_path / f"{name.replace('-idx', '.idx')}.gz").write_bytes(
            gzip.compress((source / name).read_bytes())
        )
    plain, packed = mnist.load(source), mnist.load(tmp_path)
    assert plain[0][0].shape == (256, 28, 28, 1)
    assert plain[0][0].dtype == np.uint8
    for ours, theirs in zip(plain, packed, strict=True):
        assert np.array_equal(ours[0], theirs[0])
        assert np.array_equal(ours[1], theirs[1])


@pytest.mark.parametrize(
    ("name", "shape", "values", "words"),
    [
        ("train-images-idx3-ubyte", (256, 28, 28), b"x", "1 bytes of values, but the header says 200704"),
        ("train-labels-idx1-ubyte", (2,), b"\1\2", "256 train images, but 2 labels"),
        ("t10k-labels-idx1-ubyte", (64,), bytes([10]) * 64, "test label 10; the labels must be 0 to 9"),
        ("t10k-images-idx3-ubyte", (64, 8, 8), bytes(4096), "the network needs 11 by 11"),
        ("t10k-images-idx3-ubyte", (64, 14, 14), bytes(64 * 196), "training and test images differ in size"),
        ("train-labels-idx1-ubyte", (16, 16), bytes(256), "must have three dimensions, labels one"),
    ],
)
def test_malformed_data_is_refused_and_named(
    digits: Digits, name: str, shape: tuple[int, ...], values: bytes, words: str
) -> None:
    data = digits()
    write(data / name, shape, values)
    with pytest.raises(DataError, match=words):
        mnist.load(data)


def test_a_broken_gzip_file_is_refused_and_named(tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(b"x" * 1000)[:-20])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz: "):
        idx.read(path)


def test_without_data_and_network_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*args: object, **kwargs: object) -> None:
        raise OSError("URL fetch failure: name resolution")

    monkeypatch.setattr(keras.datasets.mnist, "load_data", no_network)
    with pytest.raises(DataError, match=r"download failed .*name resolution.*put .*into MLP_DATA_DIR"):
        mnist.load(None)
