"""CC0 recordings that the soundscapes are mixed from: audio, table, reader."""
