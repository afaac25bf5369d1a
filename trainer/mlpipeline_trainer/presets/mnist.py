"""MNIST: a small convolutional network on handwritten digits, 28 by 28 pixels, ten classes.

Its files are in the IDX format; Fashion-MNIST and other sets of that shape work too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlpipeline_trainer import idx
from mlpipeline_trainer.context import Context
from mlpipeline_trainer.errors import DataError
from mlpipeline_trainer.log import say
from mlpipeline_trainer.params import Spec

SUMMARY = "a convolutional network on MNIST (60,000 + 10,000 images); about 0.99 val_accuracy after 3 epochs"
SPECS = (
    Spec("epochs", 3, "passes over the training set", minimum=1),
    Spec("batch_size", 128, "images per step", minimum=1),
    Spec(
        "learning_rate",
        0.003,
        "Adam's learning rate at the start; falls to zero by a cosine",
        ("lr",),
        above=0,
    ),
    Spec("dropout", 0.3, "share of the features that a step leaves out", minimum=0, below=1),
    Spec("seed", 1, "of the weights, the shuffling and the dropout", minimum=0, maximum=2**32 - 1),
)
CLASSES = 10
FILES = {
    "train images": "train-images-idx3-ubyte",
    "train labels": "train-labels-idx1-ubyte",
    "test images": "t10k-images-idx3-ubyte",
    "test labels": "t10k-labels-idx1-ubyte",
}


def locate(data_dir: Path, datasets_dir: Path) -> Path | None:
    """The folder with all four files: `data_dir`, else the one in the image; `None` if neither has them."""
    for folder in (data_dir, datasets_dir / "mnist"):
        if all(idx.find(folder, name) for name in FILES.values()):
            return folder
    return None


def load(folder: Path | None) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """(images, labels) for training and for testing.

    Args:
        folder: Holds the four IDX files; `None` downloads the set by `keras.datasets`.

    Returns:
        Images: uint8 (n, height, width, 1), values 0 to 255; labels: uint8 (n,), values 0 to 9.

    Raises:
        DataError: A file is missing or malformed, or the download failed; says which, and what to do.
    """
    if folder is None:
        return _download()
    arrays = {}
    for what, name in FILES.items():
        path = idx.find(folder, name)
        if path is None:
            raise DataError(f"{folder} holds no {name} (nor {name}.gz, nor {name.replace('-idx', '.idx')})")
        arrays[what] = idx.read(path)
    parts = []
    for part in ("train", "test"):
        images, labels = arrays[f"{part} images"], arrays[f"{part} labels"]
        _check(folder, part, images, labels)
        parts.append((images[..., None], labels))
    if parts[0][0].shape[1:] != parts[1][0].shape[1:]:
        raise DataError(f"{folder}: training and test images differ in size")
    return parts[0], parts[1]


def _check(folder: Path, part: str, images: Any, labels: Any) -> None:
    if images.ndim != 3 or labels.ndim != 1:
        raise DataError(f"{folder}: {part} images must have three dimensions, labels one")
    if len(images) != len(labels) or not len(images):
        raise DataError(f"{folder}: {len(images)} {part} images, but {len(labels)} labels")
    if min(images.shape[1:]) < 11:
        raise DataError(f"{folder}: {part} images of {images.shape[1:]} pixels; the network needs 11 by 11")
    if labels.max() >= CLASSES:
        raise DataError(f"{folder}: {part} label {labels.max()}; the labels must be 0 to {CLASSES - 1}")


def _download() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    import socket

    import keras

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(30)
    say("data: MNIST is neither in MLP_DATA_DIR nor in this image; downloading it")
    try:
        train, test = keras.datasets.mnist.load_data()
    except Exception as error:
        raise DataError(
            "MNIST is neither in MLP_DATA_DIR nor in this image, and the download failed"
            f" ({' '.join(str(error).split())}); put {', '.join(FILES.values())} into MLP_DATA_DIR,"
            " or name their place by MLP_DATA_URI"
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    return (train[0][..., None], train[1]), (test[0][..., None], test[1])


def build(shape: tuple[int, ...], values: dict[str, Any], steps: int) -> Any:
    """The compiled model.

    Args:
        shape: Of one image, (height, width, 1).
        values: A value for each of `SPECS`.
        steps: Training steps in all, over which the learning rate falls.

    Returns:
        A Keras model from pixels, 0 to 255, to the logits of the ten classes.
    """
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            layers.Input(shape),
            layers.Rescaling(1 / 255),
            layers.Conv2D(24, 5, strides=2, activation="relu"),
            layers.Conv2D(48, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dropout(values["dropout"], seed=values["seed"]),
            layers.Dense(128, activation="relu"),
            layers.Dense(CLASSES),
        ],
        name="mnist",
    )
    schedule = keras.optimizers.schedules.CosineDecay(values["learning_rate"], steps)
    model.compile(
        optimizer=keras.optimizers.Adam(schedule),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def train(context: Context, values: dict[str, Any]) -> Any:
    """Trains, evaluates on the test set, and returns (model, metrics)."""
    import keras

    # Where data was named, nothing else may take its place.
    folder = context.data_dir if context.data_uri else locate(context.data_dir, context.data_dir)
    (images, labels), test = load(folder)
    say(f"data: {len(images)} training and {len(test[0])} test images from {folder or 'keras.datasets'}")
    keras.utils.set_random_seed(values["seed"])
    model = build(images.shape[1:], values, steps=-(-len(images) // values["batch_size"]) * values["epochs"])
    model.fit(
        images,
        labels,
        batch_size=values["batch_size"],
        epochs=values["epochs"],
        validation_data=test,
        validation_batch_size=1000,
    )
    final = model.evaluate(*test, batch_size=1000, verbose=0, return_dict=True)
    return model, {f"val_{name}": value for name, value in final.items()}
