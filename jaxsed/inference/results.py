"""The folder that `jaxsed detect` writes: results a file, tables of all files."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxsed import locks
from jaxsed.audio.decode import AudioError
from jaxsed.errors import InputError
from jaxsed.evaluation.postprocess import Postprocessing
from jaxsed.evaluation.truth_files import TrueEvents
from jaxsed.inference import frame_scores, inputs, outputs, report, stream
from jaxsed.inference.inputs import SoundFile
from jaxsed.inference.journal import Journal, fingerprint, settings_mark
from jaxsed.labels.clip_names import clip_path


class Options(NamedTuple):
    """What to detect and to write.

    Attributes:
      formats: Keys of `outputs.FORMATS`.
      postprocessing: How the scores become events.
      scores: "tsv", "npz" or None: frame scores, as the model gives them.
      picture: Draw a picture of every file.
    """

    formats: tuple[str, ...] = ("tsv",)
    postprocessing: Postprocessing = Postprocessing()
    scores: str | None = None
    picture: bool = False


class Done(NamedTuple):
    """What came of a file.

    Attributes:
      n_events: Events written.
      best_score: The highest score anywhere in the file.
      best: What and where that was, in words.
      problem: What was wrong with a file that could be used all the same, or "".
    """

    n_events: int
    best_score: float
    best: str
    problem: str = ""


class Results:
    """Makes and keeps the results of sound files in a folder.

    Args:
      folder: Made if need be.
      detector: A `detector.Detector`.
      options: What to detect and to write.
      files: All files of this run.
      truth: True events for the pictures, by `clip_path` of the files' names.

    Raises:
      InputError: The folder holds results of other files of the same names, is in use
        by another process, or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        detector,
        options: Options,
        files: Sequence[SoundFile],
        truth: TrueEvents | None = None,
    ):
        self.options = options
        self.table = folder / "detections.tsv"
        self.problems = folder / "problems.txt"
        self._folder = folder
        self._detector = detector
        self._truth = truth
        described = json.dumps(detector.description, sort_keys=True)
        chosen = options.postprocessing
        self._settings = {
            "model": hashlib.sha256(described.encode()).hexdigest()[:32],
            "threshold": chosen.threshold,
            "median_seconds": chosen.median_seconds,
            "overlap": detector.overlap,
        }
        if chosen != Postprocessing(
            "median", chosen.median_seconds, 0, chosen.threshold
        ):
            self._settings["postprocess"] = chosen.to_json()
        self._settings_mark = settings_mark(self._settings)
        with outputs.writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            locks.hold(folder)
            self._journal = Journal(folder / "journal.jsonl")
        self._score_names = frame_scores.names(file.name for file in files)
        for file in files:
            self._refuse_namesakes(file)

    def _refuse_namesakes(self, file: SoundFile) -> None:
        if file.name not in self._journal:
            return
        earlier = self._journal[file.name].source
        if earlier != os.path.abspath(file.path) and os.path.exists(earlier):
            raise InputError(
                f"{self._folder} holds results of another {file.name} ({earlier}); "
                "choose another --out"
            )

    def is_finished(self, file: SoundFile) -> bool:
        """Whether the folder has these results of this file as it is now.

        If only formats of its events are lacking, they are written now.
        """
        try:
            mark = self._fingerprint(file)
        except OSError:
            return False
        to_write = self._outputs(file)
        lacking = self._journal.lacking(file.name, mark, to_write.values())
        if not lacking:
            return lacking is not None
        formats = {
            name: path
            for name, path in to_write.items()
            if path in lacking and name in outputs.FORMATS
        }
        if len(formats) < len(lacking):
            return False
        detections = self._journal.events(file.name)
        try:
            with outputs.writing(self._folder):
                seconds = self._journal[file.name].seconds
                self._write_events(file, formats, detections, seconds)
                self._journal.add_outputs(file.name, lacking)
        except OSError:  # of its name, see `writing`; `process` says so
            return False
        return True

    def earlier_problem(self, file: SoundFile) -> str:
        """Returns what was wrong with a file that is finished, or ""."""
        return self._journal[file.name].problem

    @property
    def n_of_other_settings(self) -> int:
        """Files of earlier runs that the table leaves out, as settings differ."""
        return self._journal.n_of_other(self._settings_mark)

    def process(
        self, file: SoundFile, progress: Callable[[float], object] = lambda _: None
    ) -> Done | str:
        """Detects the events of a file and writes its results.

        Args:
          file: The file.
          progress: Called with the seconds that were read so far.

        Returns:
          What came of it; if the file cannot be used, a line that says why.

        Raises:
          InputError: The model is broken, or results cannot be written: no other file
            would fare better.
        """
        try:
            return self._process(file, progress)
        except AudioError as error:
            problem = str(error)
            if error.kind == "missing":
                # A disk that has gone makes no earlier results wrong.
                return outputs.one_line(problem)
            if error.kind == "undecodable":
                problem += inputs.conversion(file.path)
        except InputError:
            raise
        except Exception as error:
            # One strange file must not end a run over thousands.
            problem = f"{file.path}: failed with {type(error).__name__}: {error}"
        with outputs.writing(self._folder):
            self._journal.remove(file.name)
        return outputs.one_line(problem)

    def _process(self, file: SoundFile, progress) -> Done:
        options, detector = self.options, self._detector
        to_write = self._outputs(file)
        clock = stream.Clock(detector.sample_rate, progress)
        on_audio, on_filtered, picture = [clock.add], [], None
        if options.picture:
            picture = report.Picture(detector)
            on_audio.append(picture.add_audio)
            on_filtered.append(picture.add_scores)
        with frame_scores.open_writer(
            options.scores,
            self._folder / to_write.get("scores", ""),
            detector.labels,
            detector.frame_seconds,
        ) as (on_scores, finish_scores):
            try:
                mark = self._fingerprint(file)
            except OSError:
                mark = ""  # missing: the reader says so
            found = stream.detect(
                detector,
                file.path,
                options.postprocessing,
                on_audio=on_audio,
                on_scores=[on_scores],
                on_filtered=on_filtered,
            )
            finish_scores(found.duration_seconds)
            with outputs.writing(self._folder):
                self._journal.remove_other(file.name, mark)
        detections = outputs.to_detections(found.events, detector.labels, file.name)
        problem = ""
        if found.truncated:
            end = f"{found.duration_seconds:.2f} s"
            problem = outputs.one_line(
                f"{file.path}: cut off after {end}; what is there was used"
            )
        with outputs.writing(self._folder):
            self._write_events(file, to_write, detections, found.duration_seconds)
            if picture:
                picture.draw(
                    self._folder / to_write["picture"],
                    title=file.name,
                    found=found,
                    threshold=options.postprocessing.threshold,
                    truth=self._true_events(file),
                )
            self._journal.add(
                file.name,
                os.path.abspath(file.path),
                mark,
                to_write.values(),
                detections,
                settings=self._settings_mark,
                problem=problem,
                seconds=found.duration_seconds,
            )
        best = found.best
        what = f"{best.score:.3f}, {detector.labels[best.label]} at {best.onset:.2f} s"
        return Done(len(detections), best.score, f"{what} in {file.name}", problem)

    def _write_events(self, file: SoundFile, to_write, detections, duration) -> None:
        details = outputs.Details(
            path=os.path.abspath(file.path),
            filename=file.name,
            duration_seconds=duration,
            highest_hz=self._detector.sample_rate / 2,
            settings=self._settings,
        )
        for name in self.options.formats:
            if name in to_write:
                text = outputs.FORMATS[name].writer(detections, details)
                outputs.write(self._folder / to_write[name], text)

    def write_tables(self, problems: Sequence[str]) -> None:
        """Writes the events of all files finished with these settings, and problems.

        Args:
          problems: Of this run; those of other files in the table are added.
        """
        with outputs.writing(self._folder):
            rows = self._journal.detections(self._settings_mark)
            outputs.write_table(self.table, rows)
            earlier = self._journal.problems(self._settings_mark)
            problems = dict.fromkeys([*problems, *earlier])
            if problems:
                outputs.write(self.problems, "".join(f"{line}\n" for line in problems))
            else:
                self.problems.unlink(missing_ok=True)

    def _outputs(self, file: SoundFile) -> dict[str, str]:
        """Returns what is written for a file: kind, and path below the folder."""
        wanted = {
            name: file.name + outputs.FORMATS[name].ending
            for name in self.options.formats
        }
        if self.options.scores:
            stem = self._score_names[file.name]
            wanted["scores"] = f"scores/{stem}.{self.options.scores}"
        if self.options.picture:
            wanted["picture"] = f"{file.name}.png"
        return wanted

    def _fingerprint(self, file: SoundFile) -> str:
        settings = dict(self._settings)
        if self.options.picture and self._truth is not None:
            settings["truth"] = self._true_events(file)
        return fingerprint(file.path, settings)

    def _true_events(self, file: SoundFile) -> list[report.NamedEvent] | None:
        if self._truth is None:
            return None
        found = self._truth.events.get(clip_path(file.name), ())
        names = self._truth.vocabulary.names
        return [report.NamedEvent(e.onset, e.offset, names[e.label]) for e in found]
