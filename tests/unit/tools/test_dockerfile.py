from __future__ import annotations

import pytest

from tools.cluster import dockerfile

TEXT = """\
# syntax: comment
ARG BASE_IMAGE=python:3.13-slim
FROM ${BASE_IMAGE} AS builder
COPY requirements/a.txt \\
     requirements/b.txt /tmp/
RUN echo one && \\
    # a comment between
    echo two

FROM builder AS app
COPY --chown=1:1 ["src folder", "/opt/src"]
COPY --from=tool /tool /tool
RUN --mount=type=bind,from=extra,target=/x true

FROM scratch AS tool
ADD bin/tool /tool
FROM scratch AS extra
FROM scratch AS unrelated
COPY other /other
"""


def test_a_target_is_made_of_every_stage_that_it_copies_mounts_or_starts_from() -> None:
    stages = dockerfile.stages(TEXT)
    sources = {source for stage in dockerfile.closure(stages, "app") for source in stage.sources}
    assert sources == {"requirements/a.txt", "requirements/b.txt", "src folder", "bin/tool"}
    assert len(dockerfile.closure(stages, "app")) == 4


def test_continued_lines_are_one_instruction_and_comments_are_none() -> None:
    builder = dockerfile.stages(TEXT)["builder"]
    assert [line.split()[0] for line in builder.instructions] == ["ARG", "FROM", "COPY", "RUN"]
    assert "echo two" in builder.instructions[-1]


def test_an_image_that_is_no_stage_needs_nothing_of_ours() -> None:
    stages = dockerfile.stages("FROM debian AS app\nCOPY --from=docker.io/library/x /a /b\n")
    (stage,) = dockerfile.closure(stages, "app")
    assert (stage.base, stage.copied) == ("debian", ["docker.io/library/x"])
    assert dockerfile.copied_stages(stages, "app") == []


def test_the_stages_that_files_are_copied_from_are_known() -> None:
    assert dockerfile.copied_stages(dockerfile.stages(TEXT), "app") == ["tool", "extra"]


def test_an_unknown_target_is_an_error() -> None:
    with pytest.raises(KeyError):
        dockerfile.closure(dockerfile.stages(TEXT), "nothing")
