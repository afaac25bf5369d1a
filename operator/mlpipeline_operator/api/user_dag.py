"""``MLPipeline.spec.dag``: Airflow files of the user's own."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from mlpipeline_operator.api.base import Wire, rule, rules
from mlpipeline_operator.api.source import ConfigMapReference

MOST_FILES = 64
FILE_PATTERN = (
    r"^[A-Za-z0-9_][A-Za-z0-9_-]*([.][A-Za-z0-9_-]+)*(/[A-Za-z0-9_][A-Za-z0-9_-]*([.][A-Za-z0-9_-]+)*)*$"
)
DAG_ID_PATTERN = r"^[A-Za-z0-9_.-]+$"

_BAD_PATH = f"!path.matches(r'{FILE_PATTERN}')"
_PATH_MESSAGE = "write the path of a file as dag.py or helpers/load.py: letters, digits, '_', '-' and '.'"
Files = Annotated[
    dict[str, Annotated[str, Field(max_length=262144)]],
    Field(
        min_length=1,
        max_length=MOST_FILES,
        json_schema_extra=rules(
            rule(
                f"!self.exists(path, {_BAD_PATH})",
                _PATH_MESSAGE,
                says=f"'\"' + self.filter(path, {_BAD_PATH})[0] + '\": {_PATH_MESSAGE.replace(chr(39), '')}'",
            ),
            rule(
                "self.exists(path, path.endsWith('.py'))",
                "none of the files is a Python file: one must hold the DAG",
            ),
        ),
    ),
]


class UserDag(Wire):
    """Airflow files of one's own, which this pipeline's Airflow gets as they are."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.files) != has(self.configMapRef)",
                "name exactly one place of the DAG's files: `files` or `configMapRef`",
            )
        )
    )

    files: Files | None = None
    """The files, path to text, for example `dag.py`. They lie in a folder of the pipeline's name, with `_`
    for `-`, below Airflow's import root: `from my_pipeline.helpers import load` imports `helpers.py` of the
    pipeline my-pipeline."""
    config_map_ref: ConfigMapReference | None = None
    """In place of `files`: a ConfigMap whose keys are the names of the files, all in one folder. Airflow gets
    a change of its data as it gets one of `files`."""
    dag_id: (
        Annotated[
            str,
            Field(
                min_length=1,
                max_length=250,
                json_schema_extra=rules(
                    rule(
                        f"self.matches(r'{DAG_ID_PATTERN}')",
                        "a dag_id has letters, digits, '_', '-' and '.' only",
                    )
                ),
            ),
        ]
        | None
    ) = None
    """The DAG that this pipeline's runs are runs of. Needed where the files hold several DAGs, or one whose
    id is not written out in them. Default: the one that they hold."""
