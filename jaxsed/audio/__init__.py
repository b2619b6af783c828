"""Reading sound files: decoding, resampling, windows (numpy only)."""
