import json

import pytest

from mlpipeline_trainer import params
from mlpipeline_trainer.errors import ParameterError
from mlpipeline_trainer.params import Parameters, Spec
from mlpipeline_trainer.presets import mnist


def test_a_parameters_variable_is_upper_case_with_underscores() -> None:
    assert params.env_name("learning-rate.base") == "MLP_PARAM_LEARNING_RATE_BASE"


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (False, "false"), (3, "3"), (0.001, "0.001"), (1e-7, "1e-07"), ("a b", "a b")],
)
def test_a_scalar_has_one_canonical_text(value: object, text: str) -> None:
    assert params.canonical(value) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, [1], {"a": 1}])
def test_what_is_no_finite_scalar_is_refused(value: object) -> None:
    with pytest.raises(ParameterError, match="must be a string, a finite number or a boolean"):
        params.canonical(value)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("3", int, 3),
        ("3.0", int, 3),
        ("1e3", int, 1000),
        ("-2", int, -2),
        ("0.5", float, 0.5),
        ("3", float, 3.0),
        ("true", bool, True),
        ("0", bool, False),
        (" adam ", str, " adam "),
        ("12345678901234567890", int, 12345678901234567890),
    ],
)
def test_text_is_read_as_the_wanted_type(text: str, kind: type, value: object) -> None:
    read = params.parse("p", text, kind)
    assert read == value
    assert type(read) is kind


@pytest.mark.parametrize(
    ("text", "kind", "wanted"),
    [
        ("3.5", int, "an integer"),
        ("abc", float, "a finite number"),
        ("nan", float, "a finite number"),
        ("maybe", bool, "true or false"),
        ("", int, "an integer"),
    ],
)
def test_text_of_another_type_is_refused_by_name(text: str, kind: type, wanted: str) -> None:
    with pytest.raises(ParameterError, match=f"parameter lr='{text}' must be {wanted}"):
        params.parse("lr", text, kind)


def test_the_json_object_decides_how_a_name_is_spelt() -> None:
    read = params.from_env({"MLP_PARAMETERS": '{"learning-rate": "0.1"}', "MLP_PARAM_LEARNING_RATE": "0.1"})
    assert dict(read) == {"learning-rate": "0.1"}


def test_a_variable_alone_gives_a_parameter() -> None:
    assert dict(params.from_env({"MLP_PARAM_BATCH_SIZE": "32", "OTHER": "1"})) == {"batch_size": "32"}


def test_variable_and_json_must_not_contradict() -> None:
    with pytest.raises(ParameterError, match=r"MLP_PARAM_LR='0\.2' contradicts MLP_PARAMETERS"):
        params.from_env({"MLP_PARAMETERS": '{"lr": "0.1"}', "MLP_PARAM_LR": "0.2"})


@pytest.mark.parametrize(("text", "words"), [("{", "is not JSON"), ("[1]", "must be a JSON object")])
def test_malformed_json_is_named(text: str, words: str) -> None:
    with pytest.raises(ParameterError, match=f"MLP_PARAMETERS {words}"):
        params.from_env({"MLP_PARAMETERS": text})


def test_json_scalars_that_are_no_strings_become_canonical() -> None:
    read = params.from_env({"MLP_PARAMETERS": '{"lr": 0.001, "debug": true, "epochs": 3}'})
    assert dict(read) == {"lr": "0.001", "debug": "true", "epochs": "3"}


def test_two_names_that_share_a_variable_are_refused() -> None:
    with pytest.raises(ParameterError, match="'a-b' and 'a_b' are the same"):
        Parameters({"a-b": "1", "a_b": "2"})


def test_a_name_is_found_in_any_spelling() -> None:
    given = Parameters({"Learning-Rate": "0.1"})
    assert given["learning_rate"] == "0.1"
    assert "LEARNING.RATE" in given
    assert "rate" not in given


def test_a_missing_parameter_takes_the_default_or_is_required() -> None:
    given = Parameters({"lr": "0.1"})
    assert given.get_as("epochs", int, 5) == 5
    with pytest.raises(ParameterError, match=r"parameter epochs is required \(known: lr\)"):
        given.get_as("epochs", int)


def test_what_is_merged_replaces_the_same_name_in_another_spelling() -> None:
    merged = Parameters({"learning-rate": "0.1", "epochs": "3"}).merged({"learning_rate": "0.5"})
    assert dict(merged) == {"epochs": "3", "learning_rate": "0.5"}


def test_parameters_survive_the_way_through_the_environment() -> None:
    given = Parameters({"learning-rate": "0.1", "name": "a=b c"})
    environ = given.as_env()
    assert json.loads(environ["MLP_PARAMETERS"]) == {"learning-rate": "0.1", "name": "a=b c"}
    assert dict(params.from_env(environ)) == dict(given)


def test_parameters_become_the_scripts_arguments() -> None:
    assert Parameters({"lr": "0.1", "debug": "true"}).as_args() == ["--lr", "0.1", "--debug", "true"]


def test_arguments_of_a_script_are_read_as_parameters() -> None:
    args = ["--lr", "-0.1", "--name=a=b", "--verbose", "--epochs", "3", "file", "-x", "--", "--not", "1"]
    assert params.from_args(args) == {"lr": "-0.1", "name": "a=b", "verbose": "true", "epochs": "3"}


@pytest.mark.parametrize("pair", ["epochs", "=3", " =3"])
def test_a_pair_needs_name_and_equals_sign(pair: str) -> None:
    with pytest.raises(ParameterError, match="--param takes name=value"):
        params.from_pairs([pair])


def test_a_presets_parameters_have_their_defaults_and_types() -> None:
    values = params.resolve(mnist.SPECS, {"epochs": "2", "lr": "1e-2"})
    assert values == {"epochs": 2, "batch_size": 128, "learning_rate": 0.01, "dropout": 0.3, "seed": 1}
    assert isinstance(values["epochs"], int)


def test_an_unknown_parameter_is_refused_with_a_suggestion_and_the_known_ones() -> None:
    words = r"unknown parameter .epoch.; did you mean epochs\? \(known: epochs, batch_size, learning_rate"
    with pytest.raises(ParameterError, match=words):
        params.resolve(mnist.SPECS, {"epoch": "2"})


def test_a_name_and_its_alias_together_are_refused() -> None:
    with pytest.raises(ParameterError, match="'lr' and 'learning_rate' are the same"):
        params.resolve(mnist.SPECS, {"lr": "1", "learning_rate": "2"})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"epochs": "0"}, "epochs=0 must be at least 1"),
        ({"lr": "0"}, "lr=0.0 must be above 0"),
        ({"dropout": "1"}, "dropout=1.0 must be below 1"),
        ({"seed": "4294967296"}, r"seed=4294967296 must be at most 4.29497e\+09"),
        ({"batch_size": "many"}, "batch_size='many' must be an integer"),
    ],
)
def test_a_value_out_of_range_is_refused(given: dict[str, str], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        params.resolve(mnist.SPECS, given)


def test_a_choice_must_be_among_the_choices() -> None:
    spec = Spec("optimizer", "adam", "which", choices=("adam", "sgd"))
    assert params.resolve([spec], {"optimizer": "sgd"}) == {"optimizer": "sgd"}
    with pytest.raises(ParameterError, match="must be one of adam, sgd"):
        params.resolve([spec], {"optimizer": "adma"})
