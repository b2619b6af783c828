"""One contender of `benchmarks.encoders`: the original model in eager PyTorch.

    JAXSED_REFERENCE=PATH python -m benchmarks.torch_worker ENCODER

`PATH` is a checkout of PretrainedSED. Runs in any environment that has what it needs;
jaxsed need not be installed there.
"""

import contextlib
import functools
import importlib
import os
import sys
from collections.abc import Callable

import torch

from benchmarks.side_by_side import serve

N_CLASSES = 447
N_SAMPLES = 160_000

# Ours to theirs: module, class, arguments, features of a frame.
WRAPPERS = {
    "atst_frame": ("models.atstframe.ATSTF_wrapper", "ATSTWrapper", (), 768),
    "beats": ("models.beats.BEATs_wrapper", "BEATsWrapper", (), 768),
    "fpasst": ("models.frame_passt.fpasst_wrapper", "FPaSSTWrapper", (), 768),
    "m2d": ("models.m2d.M2D_wrapper", "M2DWrapper", (), 3840),
    "asit": ("models.asit.ASIT_wrapper", "ASiTWrapper", (), 768),
    "frame_mn06": ("models.frame_mn.Frame_MN_wrapper", "FrameMNWrapper", (0.6,), 576),
    "frame_mn10": ("models.frame_mn.Frame_MN_wrapper", "FrameMNWrapper", (1.0,), 960),
}


def prepare(encoder: str, mode: str, batch: int) -> Callable[[], object]:
    """Returns a forward pass or a training step, waveform in, ready to be timed.

    The training step is in evaluation mode but for its gradients: no dropout and no
    batch statistics on either side, so that both do the same arithmetic.

    Args:
        encoder: a name in `WRAPPERS`.
        mode: "forward" or "step".
        batch: number of 10 s clips.
    """
    torch.manual_seed(0)
    model = _model(encoder)
    wave = 0.1 * torch.randn(batch, N_SAMPLES)
    if mode == "forward":

        def forward():
            with torch.no_grad():
                return model(model.mel_forward(wave))[0]

        return forward
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5)
    labels = torch.zeros(batch, N_CLASSES, 250)

    def step():
        optimizer.zero_grad()
        logits = model(model.mel_forward(wave))[0]
        torch.nn.functional.binary_cross_entropy_with_logits(logits, labels).backward()
        optimizer.step()

    return step


def _model(encoder: str) -> torch.nn.Module:
    module_name, class_name, arguments, width = WRAPPERS[encoder]
    wrapper = importlib.import_module("models.prediction_wrapper").PredictionsWrapper
    with contextlib.redirect_stdout(sys.stderr):
        module = importlib.import_module(module_name)
        if encoder == "fpasst":  # would fetch the ImageNet weights it starts from
            module.get_model = functools.partial(module.get_model, pretrained=False)
        base = getattr(module, class_name)(*arguments)
        return wrapper(base, n_classes_strong=N_CLASSES, embed_dim=width).eval()


if __name__ == "__main__":
    sys.path.insert(0, os.environ["JAXSED_REFERENCE"])
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    serve(lambda **cell: prepare(sys.argv[1], **cell))
