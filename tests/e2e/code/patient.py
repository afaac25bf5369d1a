"""A training that takes time and hardly any CPU: an epoch is mostly sleep, and says that it is through."""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

import keras
import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
parser.add_argument("--seconds", type=float, help="of an epoch")
args = parser.parse_args()


class Patience(keras.callbacks.Callback):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        print(f"through with epoch {epoch + 1} of {args.epochs}", flush=True)
        # A slow machine makes the training no longer: what one epoch is late, the next sleeps less.
        time.sleep(max(began + (epoch + 1) * args.seconds - time.monotonic(), 0))


x = np.linspace(-1, 1, 64, dtype="float32")[:, None]
model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
model.compile(keras.optimizers.Adam(0.05), loss="mse")
began = time.monotonic()
model.fit(x, 3 * x + 1, epochs=args.epochs, validation_split=0.25, verbose=0, callbacks=[Patience()])
model.save(os.path.join(os.environ["MLP_MODEL_DIR"], "model.keras"))
