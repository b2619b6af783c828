import pickle

import numpy as np

from jaxsed.data.clip_selection import ClipSelection
from jaxsed.data.pipelines import evaluation_batches
from tests.test_data.fakes import FakeData


def test_selected_clips_are_loaded_in_their_order():
    data = FakeData(6, seconds=1.0)
    rows = np.array([4, 1, 1, 5])
    selection = pickle.loads(pickle.dumps(ClipSelection(data, rows)))
    assert len(selection) == 4
    assert selection.ids == ["clip4", "clip1", "clip1", "clip5"]
    assert selection.events(0) == data.events(4)
    assert selection.place(3) == data.place(5)
    batches = evaluation_batches(selection, batch_size=2, clip_seconds=1.0, n_frames=25)
    heard = np.concatenate([batch["audio"][:, 0] for batch in batches])
    np.testing.assert_array_equal(heard, (rows + 1) * 1000)
