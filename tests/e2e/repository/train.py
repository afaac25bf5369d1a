"""A training in a private repository: a plain Keras script that needs a package."""

import os

import code_words
import keras
import numpy as np

keras.utils.set_random_seed(1)
points = np.linspace(-1, 1, 256, dtype="float32")[:, None]
model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
model.compile(keras.optimizers.Adam(0.05), loss="mse")
model.fit(points, 3 * points + 1, epochs=20, validation_split=0.25, verbose=2)
model.save(os.path.join(os.environ["MLP_MODEL_DIR"], "model.keras"))
print("code_words says:", code_words.WORD)
