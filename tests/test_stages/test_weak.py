import numpy as np

import jaxsed
from jaxsed.stages import weak
from jaxsed.training.logs import read_metrics


def test_weak_model_detects_by_the_frames_its_clip_logits_average(small, tmp_path):
    config = small("weak", **{"eval.metrics": ("map", "psds1_macro")})
    weak.run(config, tmp_path / "weak")
    evaluated = read_metrics(tmp_path / "weak" / "metrics.jsonl")[0]
    assert {"eval/map", "eval/psds1_macro"} <= evaluated.keys()
    detector = jaxsed.load(tmp_path / "weak" / "model")
    assert detector.description["stage"] == "weak"
    rng = np.random.default_rng(0)
    wave = 0.1 * rng.standard_normal((2, 160000)).astype(np.float32)
    frames, clip = detector.logits(wave), detector.clip_logits(wave)
    np.testing.assert_allclose(frames.mean(1), clip, atol=1e-5)
