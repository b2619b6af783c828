"""Key layouts of PyTorch checkpoints, as tables of rules: one file a family."""
