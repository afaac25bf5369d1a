"""``spec.training``: a TensorFlow/Keras training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from mlpipeline_operator.api.base import Wire, rule, rules
from mlpipeline_operator.api.containers import EnvList, Image, Resources, WorkloadEnvVar
from mlpipeline_operator.api.source import Requirements, Source

_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"
_ENTRYPOINT_PATTERN = f"^({_IDENTIFIER}([.]{_IDENTIFIER})*:{_IDENTIFIER}|[A-Za-z0-9_./-]*[A-Za-z0-9_-][.]py)$"
_ENTRYPOINT_MESSAGE = (
    "not an entrypoint; write module:function (churn.train:main) or the path of a file (/app/train.py)"
)
_DATA_MESSAGE = "dataUri must be an absolute path or begin with gs://, s3://, http:// or https://"


class Training(Wire):
    """A TensorFlow/Keras training: one step that runs in a pod."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.dataset) || has(self.entrypoint) || has(self.source)",
                "say what to train: `dataset: mnist` for the built-in example,"
                " or `source`, or `image` and `entrypoint`, for code of your own",
            ),
            rule(
                "!(has(self.dataset) && has(self.source))",
                "`dataset` chooses the built-in example and `source` code of your own: keep one of them"
                " (data for your own code goes to `dataUri`)",
            ),
            rule(
                "!(has(self.entrypoint) && has(self.source))",
                "`entrypoint` is for code in `image`: with `source`, write `source.entrypoint`",
            ),
            rule(
                "!has(self.requirements) || has(self.entrypoint) || has(self.source)",
                "`requirements` are for code of your own: the built-in example needs none",
            ),
            rule(
                "!(has(self.dataset) && has(self.entrypoint))",
                "`dataset` chooses the built-in example and `entrypoint` code of your own: keep one of them"
                " (data for your own code goes to `dataUri`)",
            ),
            rule(
                "!has(self.entrypoint) || has(self.image)",
                "`entrypoint` needs `image`: the one that holds the code, built FROM the trainer image",
                field=".image",
                reason="FieldValueRequired",
            ),
        )
    )

    dataset: Literal["mnist"] | None = None
    """Run the built-in example on this data set, which the trainer image holds. Exactly one of `dataset`,
    `entrypoint` and `source` is needed.

    - mnist: 70,000 handwritten digits and a small convolutional network. Its parameters: epochs (default 3),
      batch_size (128), learning_rate (0.003), dropout (0.3), seed (1)."""
    data_uri: (
        Annotated[
            str,
            Field(
                max_length=2048,
                json_schema_extra=rules(
                    rule("self.matches('^(/|(gs|s3|https?)://[^/])')", _DATA_MESSAGE),
                    rule(
                        "!self.matches('^[a-z0-9]+://[^/]*@')",
                        "dataUri must not hold a user or password: put credentials into `env`, from a Secret",
                    ),
                ),
            ),
        ]
        | None
    ) = None
    """Where the training data lies: an absolute path in the image, or a `gs://`, `s3://`, `http://` or
    `https://` address of a file, a folder or an archive (unpacked). The training finds it in
    `$MLP_DATA_DIR`. Default: the files of `dataset` in the image."""
    image: Image | None = None
    """The container image to train in. It must be built FROM the operator's trainer image, which holds
    TensorFlow and what Airflow needs in a step's pod. Default: the trainer image of this operator's
    release."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """When the image is pulled. Default: Always if the image's tag is `latest` or missing, else IfNotPresent.

    - Always: at every start of a pod
    - IfNotPresent: only where the node does not have it yet
    - Never: the node must have it already"""
    entrypoint: (
        Annotated[
            str,
            Field(
                max_length=512,
                json_schema_extra=rules(rule(f"self.matches(r'{_ENTRYPOINT_PATTERN}')", _ENTRYPOINT_MESSAGE)),
            ),
        ]
        | None
    ) = None
    """What to run in `image`: `module:function`, or the path of a Python file."""
    source: Source | None = None
    """Code of your own that no image holds; `image` is then optional."""
    requirements: Requirements | None = None
    """What pip installs when the training starts, for it alone, such as `pandas>=2`. What the image holds
    keeps its version. pip reads its own variables from `env` (PIP_INDEX_URL, ...)."""
    env: EnvList[WorkloadEnvVar] | None = None
    """Environment variables of the training. A change starts a new run."""
    resources: Resources | None = None
    """Compute resources of the training's pod. `limits: {nvidia.com/gpu: 1}` asks for a GPU; a TensorFlow
    that then sees none fails at once. A change does not start a new run."""
