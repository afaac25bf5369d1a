import os

import pytest

from .conftest import MODEL, Folder

FAILURES = {
    "a raise": ("raise ValueError('bad lr')", 1, "Exception", "ValueError: bad lr (usercode.py:9)"),
    "NaN": ("make(1e30).fit(x, y, epochs=50)", 5, "NaN", "the loss became "),
    "a wrong shape": (
        "make().fit(x[:, :2], y)",
        1,
        "Exception",
        "expected axis -1 of input shape to have value 3",
    ),
    "a bad parameter": (
        "ctx.param('lr', 0.1)",
        2,
        "BadParameter",
        "lr='x' must be a finite number (usercode.py:9)",
    ),
    "no data": ("raise mlp.DataError('no rows')", 3, "DataError", "no rows (usercode.py:9)"),
    "too big": (
        "import tensorflow as tf; tf.zeros((1 << 33, 1 << 12))",
        7,
        "OutOfMemory",
        "(usercode.py:9)",
    ),
    "an exit": ("raise SystemExit(9)", 1, "Exit", "SystemExit: 9 (usercode.py:9)"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_each_failure_has_its_code_reason_and_place(folder: Folder, case: str) -> None:
    line, code, reason, words = FAILURES[case]
    folder.write("usercode.py", f"import mlpipeline_trainer as mlp{MODEL}def train(ctx):\n    {line}\n")
    os.environ["MLP_PARAM_LR"] = "x"
    assert folder.run("run", "--entrypoint", "usercode:train") == code
    for document in (folder.result(), folder.result("log")):
        assert document["state"] == "Failed"
        assert document["failure"]["reason"] == reason
        assert document["failure"]["exitCode"] == code
        assert words in document["failure"]["message"]
        assert document["failure"]["message"].endswith("(usercode.py:9)")


def test_an_error_in_a_layer_names_the_layers_line(folder: Folder) -> None:
    source = "import keras, numpy as np\nclass Bad(keras.layers.Layer):\n    def call(self, x):\n"
    source += "        raise ValueError('bad input')\nm = keras.Sequential([Bad()])\nm.compile(loss='mse')\n"
    source += "m.fit(np.ones((4, 3)), np.ones((4, 3)))\n"
    folder.write("train.py", source)
    assert folder.run("train.py") == 1
    message = folder.result()["failure"]["message"]
    assert "bad input" in message
    assert message.endswith("(train.py:4)")


def test_an_error_within_a_graph_names_the_line_that_built_it(folder: Folder) -> None:
    source = f"{MODEL}\nimport tensorflow as tf\nmodel = make()\ndef loss(y, p):\n"
    source += "    with tf.control_dependencies([tf.debugging.assert_less(y, 0.5, message='too big')]):\n"
    source += "        return tf.reduce_mean(p)\nmodel.compile(loss=loss)\nmodel.fit(x, y)\n"
    folder.write("train.py", source)
    assert folder.run("train.py") == 1
    message = folder.result()["failure"]["message"]
    assert "too big" in message
    assert message.endswith("(train.py:12)")


def test_a_gpu_that_is_not_there_ends_with_code_6_before_the_users_code_runs(folder: Folder) -> None:
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    folder.write("train.py", "open('ran', 'w')\n")
    os.environ["MLP_EXPECT_GPU"] = "1"
    assert folder.run("train.py") == 6
    failure = folder.result()["failure"]
    assert failure["reason"] == "NoGPU"
    assert "sees only /physical_device:CPU:0" in failure["message"]
    assert not (folder.path / "ran").exists()
