"""Model folders on disk and the key layouts of released checkpoints."""
