"""Waveform to normalised log-mel spectrogram, on the device."""
