"""What an ``Airflow`` may not say, and what cannot change once it is there."""

from __future__ import annotations

from pydantic import ConfigDict

from mlpipeline_operator.api.base import rule, rules
from mlpipeline_operator.api.containers import ENV_RULES, EnvVar

# The name of StatefulSet airflow-NAME-postgresql and a revision's hash make a label of at most 63 characters.
LONGEST_AIRFLOW_NAME = 30
DEFAULT_AIRFLOW_VERSION = "3.3.2"
DEFAULT_DATABASE_SIZE = "5Gi"
DEFAULT_ARTIFACTS_SIZE = "10Gi"

# What the operator sets itself and cannot let go of: section and option -> the field that is meant for it.
RESERVED_OPTIONS = {
    ("core", "executor"): "use spec.executor",
    ("core", "fernet_key"): "the operator generates it",
    ("core", "execution_api_server_url"): "the operator sets it",
    ("api", "secret_key"): "the operator generates it",
    ("api_auth", "jwt_secret"): "the operator generates it",
    ("database", "sql_alchemy_conn"): "use spec.database",
    ("dag_processor", "dag_bundle_config_list"): "the operator delivers the DAGs",
}


def option_env(section: str, option: str) -> str:
    """The environment variable by which Airflow takes an option."""
    return f"AIRFLOW__{section.upper()}__{option.upper()}"


_RESERVED = ", ".join(f"'{option_env(*key)}'" for key in RESERVED_OPTIONS)


class AirflowEnvVar(EnvVar):
    """An environment variable of Airflow's components."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            *ENV_RULES,
            rule(
                f"!(self.name in [{_RESERVED}])",
                "the operator sets this variable: remove it (executor and database have their own fields)",
                says="'the operator sets ' + self.name"
                " + ': remove it (executor and database have their own fields)'",
                field=".name",
                reason="FieldValueForbidden",
            ),
        )
    )


# All fields of a managed Airflow.
MANAGED = (
    "version",
    "image",
    "executor",
    "env",
    "config",
    "service",
    "database",
    "artifacts",
    "apiServer",
    "scheduler",
    "dagProcessor",
    "triggerer",
    "maxActiveRuns",
    "deletionPolicy",
)

# CEL does not see `config`, whose values have no type: ``validate`` refuses that one.
_SEEN = [field for field in MANAGED if field != "config"]

EXTERNAL_ALONE = rule(
    f"!has(self.external) || !({' || '.join(f'has(self.{field})' for field in _SEEN)})",
    "the operator does not manage an external Airflow: with `external` leave out every other field, or leave"
    " out `external`",
    field=".external",
    reason="FieldValueForbidden",
)

EXTERNAL_URL = (
    rule(
        "isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHostname() != ''",
        "write a URL with http:// or https:// and a host, for example https://airflow.example.com",
    ),
    rule(
        "!self.matches('[@?#]')",
        "a URL without user, password, query and fragment: the credentials belong in the Secret that"
        " credentialsSecretRef names",
    ),
)


def _value(holder: str, path: str, default: str) -> str:
    """CEL: the value of an optional field below ``spec``, or its default."""
    parts = ["spec", *path.split(".")]
    there = " && ".join(f"has({'.'.join([holder, *parts[: end + 1]])})" for end in range(len(parts)))
    return f"({there} ? {'.'.join([holder, *parts])} : {default})"


def _kept(path: str, default: str) -> str:
    return f"{_value('self', path, default)} == {_value('oldSelf', path, default)}"


def _size(holder: str) -> str:
    return f"quantity(string({_value(holder, 'artifacts.size', repr(DEFAULT_ARTIFACTS_SIZE))}))"


# What Kubernetes cannot change in place, or what would lose data if it did.
FIXED = (
    rule(
        "self.?spec.?external.hasValue() == oldSelf.?spec.?external.hasValue()",
        "an Airflow stays managed or external as it was created. Create another Airflow instead",
        field=".spec.external",
        reason="FieldValueForbidden",
    ),
    rule(
        "self.?spec.?database.?secretRef.hasValue() == oldSelf.?spec.?database.?secretRef.hasValue()",
        "an Airflow keeps the kind of database that it was created with: a change from embedded to external"
        " or back would lose its history. Create another Airflow instead",
        field=".spec.database",
        reason="FieldValueForbidden",
    ),
    rule(
        _kept("database.embedded.storage.size", repr(DEFAULT_DATABASE_SIZE))
        + " && "
        + _kept("database.embedded.storage.storageClassName", "''"),
        "the volume of an embedded database keeps the size and StorageClass that it was created with. To grow"
        " it, edit its PersistentVolumeClaim, where the StorageClass allows it",
        field=".spec.database",
        reason="FieldValueForbidden",
    ),
    rule(
        _kept("artifacts.accessModes", "['ReadWriteOnce']")
        + " && "
        + _kept("artifacts.storageClassName", "''"),
        "the artifacts' volume keeps the access modes and StorageClass that it was created with. Create"
        " another Airflow instead",
        field=".spec.artifacts",
        reason="FieldValueForbidden",
    ),
    rule(
        f"{_size('self')}.compareTo({_size('oldSelf')}) >= 0",
        "the artifacts' volume can grow, not shrink",
        field=".spec.artifacts.size",
        reason="FieldValueForbidden",
    ),
)
