import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.training import sharding
from jaxsed.training.logs import MetricsLog
from jaxsed.training.snapshots import Snapshots
from jaxsed.training.state import TrainState

MAP = {1: 0.5, 2: 0.7, 3: float("nan"), 4: 0.6, 5: 0.6}  # by step; 3 has none


@pytest.fixture(scope="module")
def split():
    """Parameters of step k, split over eight devices."""
    mesh = sharding.make_mesh(data=1, fsdp=8)
    shapes = {"w": (1024, 64), "b": (3,)}
    abstract = {n: jax.ShapeDtypeStruct(s, jnp.float32) for n, s in shapes.items()}
    shardings = sharding.state_sharding(mesh, abstract)

    def params(step):
        rng = np.random.default_rng(step)
        drawn = {n: rng.normal(size=s).astype(np.float32) for n, s in shapes.items()}
        return drawn, jax.device_put(drawn, shardings)

    return params, abstract, shardings


def run(folder, split, steps=(0, 1, 2, 3, 4, 5), resume_step=-1, **settings):
    """Evaluates after each step; the log holds every evaluation up to it."""
    metric = settings.get("metric", "eval/map")
    params, *_ = split
    snapshots = Snapshots(folder / "snapshots", **settings)
    log = MetricsLog(folder, resume_step=resume_step)
    for step in steps:
        if not log.find(step, ("eval/",)):
            log.write(step, {metric: MAP.get(step, 0.9)})
        snapshots.take(TrainState(jnp.int32(step), params(step)[1], ()), log)
    return snapshots


def kept(folder):
    return sorted(int(path.name) for path in (folder / "snapshots").iterdir())


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"last": 3}, [3, 4, 5]),
        ({"best": 2}, [2, 4]),
        ({"best": 2, "metric": "eval/segment_1s_er"}, [1, 4]),
        ({"best": 9}, [1, 2, 3, 4, 5]),
    ],
)
def test_the_mean_is_that_of_the_evaluations_asked_for(
    tmp_path, split, settings, steps
):
    params, abstract, shardings = split
    snapshots = run(tmp_path, split, **settings)
    assert kept(tmp_path) == steps
    mean = snapshots.mean(abstract, shardings)
    for name in abstract:
        expected = np.mean([params(step)[0][name] for step in steps], axis=0)
        np.testing.assert_allclose(mean[name], expected, atol=1e-6)
        assert mean[name].sharding == shardings[name]
    snapshots.remove()
    assert not (tmp_path / "snapshots").exists()


@pytest.mark.parametrize("settings", [{"last": 2}, {"best": 2}])
def test_a_run_that_goes_on_keeps_the_same(tmp_path, split, settings):
    run(tmp_path, split, steps=(0, 1, 2, 3, 4, 5), **settings)
    whole = kept(tmp_path)
    # Killed after step 5, when the last checkpoint was that of step 3.
    run(tmp_path, split, steps=(3,), resume_step=3, **settings)
    assert max(kept(tmp_path)) <= 3
    run(tmp_path, split, steps=(3, 4, 5), resume_step=3, **settings)
    assert kept(tmp_path) == whole


def test_nothing_is_taken_where_nothing_is_asked_for(tmp_path, split):
    snapshots = run(tmp_path, split)
    assert not snapshots.active and not (tmp_path / "snapshots").exists()


def test_what_makes_no_sense_is_refused(tmp_path, split):
    _, abstract, shardings = split
    for settings in ({"last": -1}, {"last": 2, "best": 2}):
        with pytest.raises(InputError, match=r"average\.last=.*one of them"):
            Snapshots(tmp_path, **settings)
    with pytest.raises(InputError, match="did you mean 'eval/map'"):
        Snapshots(tmp_path, best=2, metric="eval/mapp").check(["eval/map"])
    with pytest.raises(InputError, match="no snapshot to average"):
        Snapshots(tmp_path / "none", last=2).mean(abstract, shardings)
    snapshots = run(tmp_path, split, last=1)
    for file in (tmp_path / "snapshots" / "5").rglob("*"):
        if file.is_file():
            file.write_bytes(b"broken")
    with pytest.raises(InputError, match="snapshots/5 cannot be read"):
        snapshots.mean(abstract, shardings)
