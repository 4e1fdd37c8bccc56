"""Resolving a recipe: every default filled, the same again when resolved again, mistakes answered in words."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanggar.data.images import Attribute, ImageSpec
from sanggar.data.sources import SOURCES
from sanggar.errors import RecipeError
from sanggar.models.blocks import Activation, Norm
from sanggar.models.feed_forward import Activation as Nonlinearity
from sanggar.models.losses import PixelLoss
from sanggar.plain import parse
from sanggar.plan import FAMILIES, Plan, measured_attributes, resolve, schema
from sanggar.recipe import PARTS, read, shipped

DIGITS = "digits-denoising-autoencoder"


def refusal(*overrides: str, recipe: str = DIGITS) -> str:
    with pytest.raises(RecipeError) as raised:
        resolve(read(recipe, overrides))
    return str(raised.value)


def again(plan: Plan) -> Plan:
    return resolve(read(parse(plan.yaml(), plan.name)))


# -- resolving twice -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_recipe_resolves_to_itself(name: str) -> None:
    plan = resolve(read(name))
    assert again(plan) == plan
    assert again(plan).identity("f") == plan.identity("f")


SHARES = st.floats(0, 1, exclude_max=True)
RATES = st.floats(1e-8, 1e3)
LEVELS = st.floats(0, 1) | st.tuples(st.floats(0, 0.5), st.floats(0.5, 1))
OPTIMIZERS = st.one_of(
    st.fixed_dictionaries({"kind": st.just("adam")}, optional={"learning_rate": RATES}),
    st.fixed_dictionaries({"kind": st.just("adamw"), "weight_decay": st.floats(0, 1)}),
    st.fixed_dictionaries({"kind": st.just("sgd"), "momentum": SHARES}),
    st.fixed_dictionaries({"kind": st.just("rmsprop"), "smoothing": SHARES}),
)
MODELS = st.fixed_dictionaries(
    {"family": st.just("autoencoder")},
    optional={
        "widths": st.lists(st.integers(1, 999), min_size=1, max_size=7),
        "latent_size": st.integers(1, 10**6),
        "activation": st.sampled_from(get_args(Activation)),
        "norm": st.sampled_from([kind for kind in get_args(Norm) if kind != "group"]),
        "noise": st.fixed_dictionaries(
            {"kind": st.sampled_from(["gaussian", "masking", "salt-and-pepper"]), "level": LEVELS}
        ),
        "loss": st.sampled_from(get_args(PixelLoss)),
    },
)
FEED_FORWARD = st.fixed_dictionaries(
    {"family": st.just("ffnn"), "hidden": st.lists(st.integers(1, 10**4), min_size=2, max_size=2)},
    optional={
        "activation": st.sampled_from(get_args(Nonlinearity))
        | st.lists(st.sampled_from(get_args(Nonlinearity)), min_size=2, max_size=2),
        "loss": st.sampled_from(["categorical_cross_entropy", "mse", "binary_cross_entropy"]),
        "initializer": st.one_of(
            st.fixed_dictionaries({"kind": st.sampled_from(["zero", "he_normal", "xavier_uniform"])}),
            st.fixed_dictionaries({"kind": st.just("uniform"), "low": st.floats(-9, 0), "high": st.floats(0.1, 9)}),
            st.fixed_dictionaries({"kind": st.just("normal")}, optional={"variance": st.floats(1e-9, 9)}),
        ),
        "normalization": st.none() | st.sampled_from(["rms", "layer", "batch"]),
        "dropout": SHARES,
        "l1": st.floats(0, 9),
        "l2": st.floats(0, 9),
    },
)
TRAININGS = st.builds(
    lambda length, rest: {**length, **rest},
    st.one_of(st.builds(dict, epochs=st.integers(1, 10**6)), st.builds(dict, steps=st.integers(1, 10**9))),
    st.fixed_dictionaries(
        {},
        optional={
            "optimizer": OPTIMIZERS,
            "schedule": st.fixed_dictionaries({"kind": st.just("cosine"), "final": st.floats(0, 1)}),
            "clip_gradient": st.none() | st.floats(1e-6, 1e6),
            "ema": st.none() | st.floats(1e-9, 0.999999),
            "early_stopping": st.none() | st.builds(dict, patience=st.integers(1, 99)),
            "seed": st.integers(0, 2**32 - 1),
            "compile": st.booleans() | st.sampled_from(["off", "on"]),
        },
    ),
)


@pytest.mark.slow
@given(model=MODELS | FEED_FORWARD, training=TRAININGS, seed=st.integers(0, 2**32 - 1))
def test_resolving_what_was_resolved_changes_nothing(
    model: dict[str, Any], training: dict[str, Any], seed: int
) -> None:
    plan = resolve(read({"data": {"source": "digits", "seed": seed}, "model": model, "training": training}))
    assert again(plan) == plan
    assert again(plan).identity("f") == plan.identity("f")


def test_identity_is_of_what_makes_the_run_and_not_of_its_name() -> None:
    one = resolve(read(DIGITS))
    assert one.identity("f") == resolve(read(DIGITS, ["name=other", "about=else", "training.seed=0"])).identity("f")
    assert one.identity("f") != one.identity("g")
    assert one.identity("f") != resolve(read(DIGITS, ["training.seed=1"])).identity("f")
    assert one.identity("f") != resolve(read(DIGITS, ["data.seed=1"])).identity("f")


def test_a_length_in_steps_replaces_one_in_epochs() -> None:
    plan = resolve(read(DIGITS, ["training.epochs=null", "training.steps=100"]))
    assert plan.training.total_steps(steps_per_epoch=7) == 100
    assert plan.training.validation_interval(7) == 7
    by_epochs = resolve(read(DIGITS, ["training.epochs=3"])).training
    assert (by_epochs.total_steps(7), by_epochs.validation_interval(7)) == (21, 7)


# -- mistakes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("override", "words"), [
    ("evaluation.feature_network=genral", "evaluation.feature_network: there is no 'genral'. Did you mean 'general'?"),
    ("data.source=digit", "data.source: there is no 'digit'. Did you mean 'digits'?"),
    ("data.source=zzz", f"Known: {', '.join(SOURCES)}."),
    ("data.source=null", "data.source: missing. Known: digits"),
    ("data.sorce=x", "data.sorce: there is no such key. Did you mean 'source'?"),
    ("model.family=autoencodr", "model.family: there is no 'autoencodr'. Did you mean 'autoencoder'?"),
    ("model.family=[autoencoder]", "model.family: there is no ['autoencoder']"),
    ("model.growth={first: 4}", "model.growth: there is no such key. "),
    ("model.growth={first: 4}", "Families that have it: gan."),
    ("model.latent_sise=3", "model.latent_sise: there is no such key. Did you mean 'latent_size'?"),
    ("model.activation=rely", "model.activation: there is no 'rely'. Did you mean 'relu'?"),
    ("model.noise.kind=gausian", "model.noise.kind: there is no 'gausian'. Did you mean 'gaussian'?"),
    ("model.noise.levle=0.1", "model.noise.levle: there is no such key. Did you mean 'level'?"),
    ("training.optimizer.kind=adm", "training.optimizer.kind: there is no 'adm'. Did you mean 'adam'?"),
    ("training.optimizer.learing_rate=1", "training.optimizer.learing_rate: there is no such key. "
                                          "Did you mean 'learning_rate'?"),
    ("training.optimizer={learning_rate: 1, kind: null}", "training.optimizer.kind: "),
    ("training.optimizer={kind: sgd, beta: 1}", "training.optimizer.beta: there is no such key."),
    ("training.schedule.final=2", "training.schedule.final: expected less than or equal to 1, got 2"),
    ("training.early_stopping.patiance=3", "training.early_stopping.patiance: there is no such key. "
                                           "Did you mean 'patience'?"),
    ("training.device=cdua", "training.device: there is no 'cdua'. Did you mean 'cuda'?"),
])  # fmt: skip
def test_an_unknown_name_is_answered_with_the_nearest(override: str, words: str) -> None:
    message = refusal(override)
    assert message.startswith(f"{DIGITS}: ")
    assert words in message


@pytest.mark.parametrize(("override", "path", "expected"), [
    ("training.epochs=ten", "training.epochs: ", "expected integer, got 'ten'"),
    ("training.epochs=0", "training.epochs: ", "expected greater than or equal to 1, got 0"),
    ("training.epochs=1.5", "training.epochs: ", "got 1.5"),
    ("training.compile=maybe", "training.compile: ", "got 'maybe'"),
    ("training.optimizer=adam", "training.optimizer: ", "got 'adam'"),
    ("training.optimizer.learning_rate=.inf", "training.optimizer.learning_rate: ", "finite number, got inf"),
    ("training.optimizer.betas=[0.9, x]", "training.optimizer.betas[1]: ", "expected number, got 'x'"),
    ("model.widths=5", "model.widths: ", "got 5"),
    ("model.widths=[8, x]", "model.widths[1]: ", "expected integer, got 'x'"),
    ("model.widths=[]", "model.widths: ", "at least 1"),
    ("model.latent_size=[1]", "model.latent_size: ", "expected integer, got [1]"),
    (
        "evaluation.denoising.noise_levels=[0.1, 3]", "evaluation.denoising.noise_levels[1]: ",
        "expected less than or equal to 2, got 3",
    ),
    ("model.noise.level=[0.5, 0.1]", "model.noise: ", "the range 0.5…0.1 runs backwards"),
    ("model.noise={kind: masking, level: 1.5}", "model.noise: ", "a share of pixels is at most 1, got 1.5"),
    ("model.noise=off", "model.noise: ", "got 'off'"),
])  # fmt: skip
def test_a_wrong_value_is_answered_with_what_was_expected(override: str, path: str, expected: str) -> None:
    (line,) = refusal(override).splitlines()
    assert line.startswith(f"{DIGITS}: {path}")
    assert expected in line


NAMES = "linear, relu, leaky_relu, elu, sigmoid, tanh, softmax, gelu, silu"


@pytest.mark.parametrize(("override", "says"), [
    ("model.hiden=[3]", "model.hiden: there is no such key. Did you mean 'hidden'?"),
    ("model.activation=rleu", "model.activation: there is no 'rleu'. Did you mean 'relu'?"),
    ("model.activation=3", f"model.activation: there is no 3. Known: {NAMES}."),
    ("model.activation=[rleu]", "model.activation[0]: there is no 'rleu'. Did you mean 'relu'?"),
    ("model.activation=[relu, tanh]", "model: activation has 2 names for 1 hidden layers; give one for all, or one for "
                                      "each."),
    ("model.activation=[]", "model: activation has 0 names for 1 hidden layers; give one for all, or one for each."),
    ("model.initializer.kind=he", "model.initializer.kind: there is no 'he'. Known: zero, xavier_uniform, "
                                  "xavier_normal, he_uniform, he_normal, uniform, normal."),
    ("model.initializer.kind=he_norml", "model.initializer.kind: there is no 'he_norml'. Did you mean 'he_normal'?"),
    ("model.initializer={kind: uniform, hi: 1}", "model.initializer.hi: there is no such key. Did you mean 'high'?"),
    ("model.initializer={kind: uniform, low: 1, high: 0}", "model.initializer: low must be below high, got 1.0 and "
                                                           "0.0."),
    ("model.initializer={kind: normal, variance: 0}", "model.initializer.variance: expected greater than 0, got 0."),
    ("model.hidden=[8, 0]", "model.hidden[1]: expected greater than or equal to 1, got 0."),
    ("model.dropout=1", "model.dropout: expected less than 1, got 1."),
    ("model.l2=-1", "model.l2: expected greater than or equal to 0, got -1."),
    ("data.test=0", "data.test: expected a number of pictures, or a share of them below 1, got 0."),
])  # fmt: skip
def test_a_mistake_in_a_network_from_scratch_is_answered_once(override: str, says: str) -> None:
    assert refusal(override, recipe="digits-ffnn") == f"digits-ffnn: {says}"


@pytest.mark.parametrize("value", ["loud", "[0.1]", "[0.1, x]", "3"])
def test_a_wrong_level_of_noise_is_told_in_the_recipes_own_keys(value: str) -> None:
    for line in refusal(f"model.noise.level={value}").splitlines():
        path = line.removeprefix(f"{DIGITS}: ").split(": ")[0]
        assert path.split("[")[0] == "model.noise.level"
        assert "constrained" not in line


@pytest.mark.parametrize("training", [{}, {"epochs": 1, "steps": 1}, {"epochs": None, "steps": None}])
def test_a_length_is_given_once(training: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="training: give either epochs or steps"):
        resolve(read({"data": {"source": "digits"}, "model": {"family": "autoencoder"}, "training": training}))


def test_a_missing_part_is_named() -> None:
    with pytest.raises(RecipeError, match=r"data\.source: missing"):
        resolve(read({"model": {"family": "autoencoder"}}))
    with pytest.raises(RecipeError, match=r"model\.family: missing"):
        resolve(read({"data": {"source": "digits"}}))


@pytest.mark.parametrize("part", ["data", "model"])
def test_a_key_that_is_no_word_is_refused(part: str) -> None:
    tree: dict[str, Any] = {"data": {"source": "digits"}, "model": {"family": "autoencoder"}, "training": {"epochs": 1}}
    tree[part][1] = 2
    with pytest.raises(RecipeError, match=part):
        resolve(read(tree))


def test_every_mistake_in_a_part_is_said_at_once() -> None:
    message = refusal("training.epochs=x", "training.seed=-1", "training.ema=2")
    assert [line.split(": ")[1] for line in message.splitlines()] == [
        "training.epochs",
        "training.ema",
        "training.seed",
    ]


def test_momentum_that_does_not_exist_cannot_look_ahead() -> None:
    assert "training.optimizer: nesterov" in refusal("training.optimizer={kind: sgd, nesterov: true}")


# -- the schema for editors ------------------------------------------------------------------------------------


def fits(value: Any, rule: dict[str, Any], definitions: dict[str, Any]) -> bool:
    """Whether a value has the structure that a JSON Schema asks for, as far as our schema's vocabulary goes."""
    if "$ref" in rule:
        rule = definitions[rule["$ref"].removeprefix("#/$defs/")]
    for choice in ("anyOf", "oneOf"):
        if choice in rule:
            return any(fits(value, option, definitions) for option in rule[choice])
    if "const" in rule and value != rule["const"]:
        return False
    if "enum" in rule and value not in rule["enum"]:
        return False
    types: dict[str, type | tuple[type, ...]] = {
        "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int,
        "number": (int, float),
    }  # fmt: skip
    if "type" in rule and not isinstance(value, types[rule["type"]]):
        return False
    if isinstance(value, dict):
        known = rule.get("properties", {})
        return (
            set(rule.get("required", ())) <= set(value)
            and (set(value) <= set(known) or rule.get("additionalProperties", True) is not False)
            and all(fits(inner, known[key], definitions) for key, inner in value.items() if key in known)
        )
    if isinstance(value, list):
        each = rule.get("prefixItems") or [rule.get("items", {})] * len(value)
        return all(fits(inner, option, definitions) for inner, option in zip(value, each, strict=False))
    return True


@pytest.fixture(scope="module")
def rules() -> dict[str, Any]:
    return schema()


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_recipe_fits_the_schema_written_and_resolved(name: str, rules: dict[str, Any]) -> None:
    assert fits(read(name).tree(), rules, rules["$defs"])
    assert fits(resolve(read(name)).tree(), rules, rules["$defs"])


def test_the_schema_knows_every_source_and_family_and_refuses_what_it_does_not_know(rules: dict[str, Any]) -> None:
    definitions = rules["$defs"]
    sources = [definitions[f"data_{name}"]["properties"]["source"]["const"] for name in SOURCES]
    assert sources == list(SOURCES)
    assert len(rules["properties"]["data"]["anyOf"]) == len(SOURCES)
    assert len(rules["properties"]["model"]["anyOf"]) == len(FAMILIES)
    assert set(PARTS) < set(rules["properties"])
    tree = resolve(read(DIGITS)).tree()
    assert not fits({**tree, "trianing": {}}, rules, definitions)
    assert not fits({**tree, "data": {"source": "digit"}}, rules, definitions)
    assert not fits({**tree, "training": {**tree["training"], "optimizer": {"kind": "adm"}}}, rules, definitions)


def test_every_reference_in_the_schema_is_defined(rules: dict[str, Any]) -> None:
    named = {part.split("'")[0] for part in str(rules).split("#/$defs/")[1:]}
    assert named <= set(rules["$defs"])


def test_attributes_to_measure_are_those_wanted_else_the_first_twelve() -> None:
    columns = tuple(Attribute(f"a{i}", "flag", ("no", "yes")) for i in range(20))
    spec = ImageSpec(8, 8, 1, (), columns)
    assert measured_attributes(spec) == columns[:12]
    assert measured_attributes(spec, ("a19", "a3", "a19")) == (columns[19], columns[3])  # nothing is measured twice
    with pytest.raises(RecipeError, match=r"evaluation\.attributes: there is no attribute 'a33'\. Did you mean 'a3"):
        measured_attributes(spec, ("a33",))


def test_what_cannot_be_measured_is_refused_before_a_training() -> None:
    with pytest.raises(RecipeError, match="there is no attribute 'smiling'"):
        resolve(read("digits-vae", ["evaluation.attributes=[smiling]"])).check()
