"""A training as a user writes it: a plain Keras script that knows nothing of the operator."""

import argparse
import os

import keras
import numpy as np

arguments = argparse.ArgumentParser()
arguments.add_argument("--units", type=int, default=8)
arguments.add_argument("--epochs", type=int, default=1)
options = arguments.parse_args()

keras.utils.set_random_seed(1)
points = np.random.default_rng(1).normal(size=(2000, 2)).astype("float32")
labels = (points[:, 0] > 0).astype("float32")

model = keras.Sequential(
    [keras.layers.Input((2,)), keras.layers.Dense(options.units, "relu"), keras.layers.Dense(1, "sigmoid")]
)
model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
model.fit(points, labels, epochs=options.epochs, validation_split=0.2, verbose=2)
model.save(os.path.join(os.environ["MLP_MODEL_DIR"], "model.keras"))
print("saved with", options.units, "units")
