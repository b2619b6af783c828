import json

import pytest

from jaxsed.errors import InputError
from jaxsed.stages import testing

TRAINING = {
    "model": {"encoder": "beats", "dtype": "bfloat16"},
    "data": {"train": "d/train", "eval": "d/eval", "workers": 3},
    "eval": {"metrics": ("psds1",), "batch_size": 8},
    "mesh": {"data": 2, "fsdp": 1},
}


def test_a_model_is_tested_as_its_training_evaluates():
    assert testing.test_config(TRAINING, "run/model", "d/test") == {
        "stage": "test",
        "model": "run/model",
        "dtype": "bfloat16",
        "data": {"eval": "d/test", "workers": 3},
        "eval": TRAINING["eval"],
        "mesh": TRAINING["mesh"],
    }


def test_a_finished_test_is_left_alone(tmp_path):
    config = testing.test_config(TRAINING, "gone/model", "gone/data")
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 0, "done": True}))
    testing.run(config, tmp_path)
    with pytest.raises(InputError, match=r"another data\.eval"):
        testing.run({**config, "data": {**config["data"], "eval": "other"}}, tmp_path)


def test_a_model_that_is_not_there_is_named(tmp_path):
    config = testing.test_config(TRAINING, "gone/model", "gone/data")
    with pytest.raises(InputError, match="gone/model: no such model folder"):
        testing.run(config, tmp_path)


def test_what_a_model_can_but_guess_is_refused():
    made = {"fresh": {"strong_head/kernel": "drawn with seed 0"}}
    description = {"head": "tokens", "provenance": made}
    config = {"model": "m", "eval": {"metrics": ("map", "accuracy")}}
    testing._refuse_guesses(description, config)
    config["eval"]["metrics"] += ("psds1",)
    with pytest.raises(InputError, match=r"m: its strong_head was .* psds1 would be"):
        testing._refuse_guesses(description, config)
