import hashlib
import json
import pickle

import pytest

from jaxsed.errors import InputError
from jaxsed.labels import vocab
from jaxsed.labels.vocab import Vocabulary

PETS = Vocabulary("pets", ("Dog", "Cat", "Bird"), ("/m/dog", "/m/cat", None))


@pytest.mark.parametrize(
    ("name", "n_classes", "first", "last"),
    [
        ("audioset_527", 527, "Speech", "Field recording"),
        ("audioset_strong_447", 447, "Accelerating, revving, vroom", None),
        ("audioset_strong_eval_416", 416, None, None),
    ],
)
def test_shipped_lists(name, n_classes, first, last):
    shipped = vocab.load(name)
    assert shipped.name == name
    assert len(shipped) == len(set(shipped.names)) == n_classes
    assert all(mid.startswith(("/m/", "/t/", "/g/")) for mid in shipped.mids)
    assert first is None or shipped.names[0] == first
    assert last is None or shipped.names[-1] == last


def test_the_strong_lists_share_407_classes_in_display_name_order():
    train = vocab.load("audioset_strong_447")
    evaluation = vocab.load("audioset_strong_eval_416")
    own, other = train.common_with(evaluation)
    assert len(own) == 407
    assert [train.mids[i] for i in own] == [evaluation.mids[i] for i in other]
    assert list(train.names) == sorted(train.names)
    assert list(evaluation.names) == sorted(evaluation.names)


def test_renamed_classes_are_found_by_mid():
    weak, strong = vocab.load("audioset_527"), vocab.load("audioset_strong_447")
    own, other = weak.common_with(strong)
    pairs = {weak.names[i]: strong.names[j] for i, j in zip(own, other)}
    assert pairs["Bicycle"] == "Bicycle, tricycle"


def test_hash_is_of_names_and_mids_in_order():
    text = "Dog\t/m/dog\nCat\t/m/cat\nBird\t\n"
    assert PETS.hash == hashlib.sha256(text.encode()).hexdigest()
    renamed = Vocabulary("other name", PETS.names, PETS.mids)
    assert renamed.hash == PETS.hash
    assert Vocabulary("pets", PETS.names).hash != PETS.hash
    turned = Vocabulary("pets", PETS.names[::-1], PETS.mids[::-1])
    assert turned.hash != PETS.hash


def test_index_by_name_and_mid():
    assert PETS.index("Cat") == PETS.index("/m/cat") == 1
    assert "Dog" in PETS
    assert "/m/dog" in PETS
    assert "Fish" not in PETS


def test_an_unknown_class_is_answered_with_the_nearest():
    with pytest.raises(InputError, match=r"'dgo' in vocabulary 'pets'.*mean 'Dog'\?"):
        PETS.index("dgo")
    with pytest.raises(InputError, match="unknown class 'xylophone'") as error:
        PETS.index("xylophone")
    assert "did you mean" not in str(error.value)


def test_common_classes_by_mid_where_both_have_one_else_by_name():
    other = Vocabulary(
        "other", ("Bird", "Hound", "Cat"), ("/m/bird", "/m/dog", "/m/big_cat")
    )
    own, theirs = PETS.common_with(other)
    # Dog is Hound (MID); Cat is another cat (MIDs differ); Bird has no MID here (name).
    assert own.tolist() == [0, 2]
    assert theirs.tolist() == [1, 0]


def test_json_round_trip():
    restored = Vocabulary.from_json(json.dumps(PETS.to_json()))
    assert restored == PETS
    assert Vocabulary.from_json(PETS.to_json()).hash == PETS.hash
    assert pickle.loads(pickle.dumps(PETS)) == PETS


def test_hand_written_json(tmp_path):
    path = tmp_path / "my classes.json"
    path.write_text('{"name": "mine", "classes": ["Dog", {"name": "Cat"}]}')
    assert vocab.load(path) == Vocabulary("mine", ("Dog", "Cat"))


def test_json_whose_hash_does_not_fit_is_refused():
    changed = PETS.to_json()
    changed["classes"][0]["name"] = "Wolf"
    with pytest.raises(InputError, match="changed by hand"):
        Vocabulary.from_json(changed)


@pytest.mark.parametrize(
    "text", ["[1]", "{}", "nonsense", '{"name": "a", "classes": [{"mid": "/m/x"}]}']
)
def test_json_of_another_form_is_refused(tmp_path, text):
    path = tmp_path / "classes.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"classes\.json: not a vocabulary"):
        vocab.load(path)


def test_an_unknown_list_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'audioset_strong_447'"):
        vocab.load("audioset_strong_448")


@pytest.mark.parametrize(
    ("names", "mids", "cause"),
    [
        ((), (), "no classes"),
        (("Dog", "Dog"), (), "'Dog' twice"),
        (("Dog", "Cat"), ("/m/x", "/m/x"), "'/m/x' twice"),
        (("Dog", "Cat"), ("/m/x",), "2 names but 1 MIDs"),
    ],
)
def test_impossible_lists_are_refused(names, mids, cause):
    with pytest.raises(InputError, match=cause):
        Vocabulary("bad", names, mids)
