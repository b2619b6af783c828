"""`python -m convert`: PyTorch checkpoints to jaxsed models, and back."""
