"""One step, one loop, for every stage."""
