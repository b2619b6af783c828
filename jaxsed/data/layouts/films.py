"""Files with a film or AAC inside, which libsndfile cannot decode.

Scripts that fetch clips from YouTube leave such files, often beside the sound they
extracted. They are taken for the sound of a clip where there is nothing else, so that
they are told as what they are.
"""

import os
from collections.abc import Iterable

from jaxsed.audio.decode import AudioError, decode
from jaxsed.data.layouts.audio_source import AudioSource
from jaxsed.errors import InputError

_ENDINGS = {".mp4", ".m4a", ".aac", ".webm", ".mkv", ".mov", ".avi", ".flv", ".wma"}


def is_film(source: AudioSource) -> bool:
    """Returns whether a file is called as films or AAC are."""
    ending = os.path.splitext(str(source.place))[1]
    return ending.lower() in _ENDINGS


def refuse_films(sources: Iterable[AudioSource | None]) -> None:
    """Refuses a data set of films, before hours are spent on reading them.

    Args:
      sources: The sound of every clip.

    Raises:
      InputError: All are called as films, and the first cannot be decoded.
    """
    sounds = [source for source in sources if source is not None]
    if not sounds or not all(map(is_film, sounds)):
        return
    try:
        decode(sounds[0].read(), sounds[0].name)
    except AudioError as error:
        if error.kind != "undecodable":
            return
        raise InputError(
            f"all {len(sounds)} sounds are films or AAC, such as {sounds[0].name}, which "
            "libsndfile cannot decode; extract the sound first, e.g. with "
            "`ffmpeg -i CLIP.mp4 -vn -ac 1 CLIP.flac`"
        ) from error
