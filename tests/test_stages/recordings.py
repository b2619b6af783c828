"""Recordings of several lengths, in memory, to evaluate on."""

import numpy as np

from jaxsed.labels.events import Event
from tests.test_data.fakes import N_CLASSES, FakeData


class Recordings(FakeData):
    """One of 3 s among longer ones; in each, a class sounds in the last second."""

    def __init__(self, vocabulary=None):
        super().__init__(4, seconds=np.array([3.0, 24.3, 10.05, 20.0]))
        self.vocabulary = vocabulary or self.vocabulary
        classes = [{"missing": 0}] * len(self.vocabulary)
        self.manifest |= {"clips": 4, "clips_listed": 4, "classes": classes}

    def events(self, i):
        end = min(float(self.seconds[i]), 10.0 if i == 2 else np.inf)
        return [Event(end - 1, end, i % N_CLASSES)]


N_FRAMES = [250, 608, 250, 500]
