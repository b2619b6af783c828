"""What a training will need and take, from the compiler: no accelerator, no data."""
