"""Your own recordings and labels: a model for your classes, from a released one.

    jaxsed prepare own my_recordings --out data/own --eval-share 0.2 --validation-share 0.1
    python -m jaxsed.main --config=configs/own.py:model=beats,data=data/own,mode=frozen \\
        --workdir=runs/mine
    jaxsed detect new.wav --weights runs/mine/model --out found

Arguments: `model` (atst_frame, beats, fpasst, m2d, asit; or tiny_..., with `weights=none`),
`weights` (strong, weak, ssl; a folder; none), `mode` (frozen: a linear layer on the
encoder's frames, which are computed once, for a laptop; finetune: everything, for a GPU),
`seed`, `lr`, `optimizer` (adam, adamw), `drop_layers`, `layer_decay`, `batch`, `steps`, `data` (folder of
`jaxsed prepare own`, or of any layout with times), `on` (eval, validation).

Recordings may last as long as they like: they are cut at random into 10 s to train on, and
heard in slices of 10 s when they are scored. To choose among rates or modes, compare runs
with `on=validation`, and look at `on=eval` once.

Cost: frozen, one pass of the encoder over all recordings (docs/encoders.md) and 1,000 steps
of a linear layer; finetune, 1,000 steps of 32 clips. Expected: no paper has your recordings.
In Table II fine-tuning mostly scores higher than frozen, on DESED by a few points or none;
frozen is the cheaper one to try first.

Not from the paper but chosen here: 1,000 steps of 32 clips, layer-wise decay 0.5 when
fine-tuning (its value for DESED, "to avoid overfitting"), a rate of 0.01 for a frozen
encoder, and heads that begin at how often each class sounds.
"""

from ml_collections import ConfigDict

from configs import downstream

FROZEN_LR = 1e-2


def get_config(text: str = "") -> ConfigDict:
    """Returns the config; see the module's docstring for the arguments."""
    given = downstream.arguments(text, data="data/own", steps=1000, batch=32, on="eval")
    if given.mode == "frozen":
        given.lr = given.lr or FROZEN_LR
    config = downstream.settings(given, layer_decay=0.5)
    config.data.workers = 2
    config.prior_bias = True
    config.eval.metrics = ("psds1", "psds1_macro", "event_f1", "segment_1s_f1")
    return config
