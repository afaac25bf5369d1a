from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from mlpipeline_operator.api.base import Wire
from mlpipeline_operator.api.schema import SchemaError, structural


class Leaf(Wire):
    """A leaf."""

    size: Annotated[int, Field(gt=0, le=9)] | None = None
    """How
    big."""


def properties(model: type[BaseModel]) -> dict[str, Any]:
    found: dict[str, Any] = structural(model)["properties"]
    return found


def test_a_reference_is_inlined_and_the_fields_description_wins_over_the_models() -> None:
    class Tree(Wire):
        left_leaf: Leaf
        """The left one."""

    assert structural(Tree) == {
        "type": "object",
        "required": ["leftLeaf"],
        "properties": {
            "leftLeaf": {
                "description": "The left one.",
                "type": "object",
                "properties": {
                    "size": {
                        "description": "How big.",
                        "type": "integer",
                        "minimum": 0,
                        "exclusiveMinimum": True,
                        "maximum": 9,
                    }
                },
            }
        },
    }


def test_a_field_that_may_be_absent_is_not_nullable() -> None:
    class Tree(Wire):
        name: str | None = None

    assert properties(Tree)["name"] == {"type": "string"}
    assert "required" not in structural(Tree)


def test_a_required_field_that_may_be_null_is_nullable() -> None:
    class Tree(Wire):
        name: str | None

    assert properties(Tree)["name"] == {"type": "string", "nullable": True}


def test_a_constant_becomes_an_enum_of_one() -> None:
    class Tree(Wire):
        kind: Literal["oak"]

    assert properties(Tree)["kind"] == {"type": "string", "enum": ["oak"]}


def test_titles_are_dropped_at_every_level() -> None:
    class Tree(Wire):
        leaves: Annotated[list[Leaf], Field(title="Leaves")]
        by_name: dict[str, Leaf]

    assert "title" not in repr(structural(Tree))


def test_paragraphs_are_joined_but_lists_are_kept() -> None:
    class Tree(Wire):
        """Big,
        green.

        - oak: has
          acorns
        - fir: has cones
        """

    assert structural(Tree)["description"] == "Big, green.\n\n- oak: has acorns\n- fir: has cones"


def test_a_default_is_refused_since_the_api_server_would_write_it_into_users_objects() -> None:
    class Tree(Wire):
        rings: int = 3

    with pytest.raises(SchemaError, match=r"Tree\.rings: defaults belong into validate"):
        structural(Tree)


def test_a_union_is_refused() -> None:
    class Tree(Wire):
        age: int | str

    with pytest.raises(SchemaError, match=r"Tree\.age: a structural schema has no unions"):
        structural(Tree)


def test_a_union_with_null_is_refused_too() -> None:
    class Tree(Wire):
        age: int | str | None = None

    with pytest.raises(SchemaError, match=r"Tree\.age: a structural schema has no unions"):
        structural(Tree)


def test_a_map_of_anything_is_refused() -> None:
    class Tree(Wire):
        extra: dict[str, Any]

    with pytest.raises(SchemaError, match=r"Tree\.extra: say what the values of this map are"):
        structural(Tree)


def test_an_unknown_keyword_is_refused() -> None:
    class Tree(Wire):
        height: Annotated[int, Field(multiple_of=2)]

    with pytest.raises(SchemaError, match=r"Tree\.height: a structural schema has no multipleOf"):
        structural(Tree)


class Node(Wire):
    child: Node | None = None


class Pair(Wire):
    node: Node


def test_a_model_that_refers_to_itself_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"^Pair\.node\.child.*refers to itself"):
        structural(Pair)
