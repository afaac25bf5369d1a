"""The user's own code for a training, where no image holds it."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from mlpipeline_operator.api.base import Name, Wire, rule, rules

_MODULE = "[A-Za-z_][A-Za-z0-9_]*"
_ENTRYPOINT = f"^({_MODULE}([.]{_MODULE})*:{_MODULE}|[A-Za-z0-9_-][A-Za-z0-9_./-]*[.]py)$"
_URL = "^((https?|ssh|git)://[^ ]+|[A-Za-z0-9_.-]+@[A-Za-z0-9.-]+:[^ ]+)$"

Requirements = Annotated[
    list[
        Annotated[
            str,
            Field(
                min_length=1,
                max_length=512,
                json_schema_extra=rules(
                    rule(
                        "!self.startsWith('-')",
                        "not a requirement but an option of pip's: set its variable in `env` instead"
                        " (PIP_INDEX_URL for --index-url)",
                    )
                ),
            ),
        ]
    ],
    Field(max_length=64),
]


class SecretReference(Wire):
    """A Secret in the same namespace."""

    name: Name
    """Name of the Secret."""


class ConfigMapReference(Wire):
    """A ConfigMap in the same namespace."""

    name: Name
    """Name of the ConfigMap."""


class Git(Wire):
    """Code in a Git repository."""

    url: Annotated[
        str,
        Field(
            max_length=2048,
            json_schema_extra=rules(
                rule(
                    f"self.matches(r'{_URL}')",
                    "not a repository; write https://HOST/PATH, ssh://USER@HOST/PATH or USER@HOST:PATH",
                ),
                rule(
                    "!self.matches('^https?://[^/]*@')",
                    "url must not hold a user or password: put them into a Secret and name it in `secretRef`",
                ),
            ),
        ),
    ]
    """Address of the repository: `https://`, `http://`, `ssh://`, `git://`, or USER@HOST:PATH."""
    ref: (
        Annotated[
            str,
            Field(
                min_length=1,
                max_length=255,
                json_schema_extra=rules(
                    rule(
                        "self.matches('^[A-Za-z0-9_][A-Za-z0-9_./@+-]*$')",
                        "not a branch, tag or commit of Git's",
                    )
                ),
            ),
        ]
        | None
    ) = None
    """A branch, tag or commit. A branch that moves starts no run; each run begins with what it is then, and
    its retries have the same commit. Default: the repository's own branch."""
    path: (
        Annotated[
            str,
            Field(
                min_length=1,
                max_length=1024,
                json_schema_extra=rules(
                    rule(
                        "!self.startsWith('/') && !self.split('/').exists(part, part == '..')",
                        "path is that of a folder in the repository, without .. in it",
                    )
                ),
            ),
        ]
        | None
    ) = None
    """A folder of the repository; the training runs in it. Default: its root."""
    secret_ref: SecretReference | None = None
    """A Secret with the keys `username` and `password` (for https) or `ssh-privatekey` (for ssh, with
    `known_hosts` where the host's key is to be checked)."""


class Source(Wire):
    """Code of one's own, which runs in the trainer image."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "[has(self.inline), has(self.configMapRef), has(self.git)].filter(given, given).size() == 1",
                "name exactly one place of the code: inline, configMapRef or git",
            ),
        )
    )

    inline: Annotated[str, Field(min_length=1, max_length=262144)] | None = None
    """The text of one Python file. A change starts a new run."""
    config_map_ref: ConfigMapReference | None = None
    """A ConfigMap whose keys are the names of files, for example `train.py`. A change of its data starts a
    new run; a run that has begun keeps the code that it began with."""
    git: Git | None = None
    """A Git repository, fetched when the training starts, by the git of the trainer image."""
    entrypoint: (
        Annotated[
            str,
            Field(
                max_length=512,
                json_schema_extra=rules(
                    rule(
                        f"self.matches(r'{_ENTRYPOINT}') && !self.split('/').exists(part, part == '..')",
                        "not an entrypoint; write the path of a file in it (train.py) or module:function",
                    )
                ),
            ),
        ]
        | None
    ) = None
    """What to run: the path of a Python file in the code, or `module:function`. Default: `train.py`."""
