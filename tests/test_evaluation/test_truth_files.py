"""Tables of events, durations and classes, as they come and as they should not."""

import re

import pytest

from jaxsed.errors import InputError
from jaxsed.evaluation import truth_files
from jaxsed.labels.events import Event
from jaxsed.labels.vocab import Vocabulary

MODEL = Vocabulary("model", ("Dog", "Meow"), ("/m/0bt9lr", "/m/07qrkrw"))
AUDIOSET = "segment_id\tstart_time_seconds\tend_time_seconds\tlabel\n"
DCASE = "filename\tonset\toffset\tevent_label\n"


def write(tmp_path, text, name="t.tsv"):
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    return tmp_path / name


@pytest.mark.parametrize(
    "text",
    [
        AUDIOSET + "a b_30000\t0.5\t1.25\t/m/0bt9lr\na b_30000\t2\t3\t/m/07qrkrw\n",
        DCASE + "a b_30000.wav\t0.5\t1.25\tDog\na b_30000.wav\t2\t3\tMeow\n",
        "\ufeff" + DCASE.replace("\n", "\r\n") + "a b_30000.WAV\t0.5\t1.25\tDog\r\n"
        "\r\na b_30000.WAV\t2\t3\tMeow\r\n",
        "onset,offset,event_label,filename\n0.5,1.25,Dog,a b_30000.flac\n"
        "2,3,Meow,a b_30000.flac\n",
        "Filename;Onset;offset;Event_Label\na b_30000.wav;0,5;1,25;Dog\n"
        "a b_30000.wav;2,0;3;Meow\n",
        "Start (s),End (s),Scientific name,Common name,Confidence,File\n"
        "0.5,1.25,Canis,Dog,0.9,a b_30000.wav\n2,3,Felis,Meow,0.8,a b_30000.wav\n",
        "id,file,start,end,duration,species\n1,a b_30000.wav,0.5,1.25,0.75,Dog\n"
        "2,a b_30000.wav,2,3,1,Meow\n",
    ],
    ids=["audioset", "dcase", "bom-crlf", "csv", "comma as point", "birdnet", "own"],
)
def test_forms_of_event_tables(tmp_path, text):
    truth = truth_files.read_events(write(tmp_path, text), MODEL)
    assert truth.problems == []
    assert truth.vocabulary.names == ("Dog", "Meow")
    assert truth.vocabulary.mids == MODEL.mids
    assert truth.events == {"a b_30000": [Event(0.5, 1.25, 0), Event(2.0, 3.0, 1)]}


def test_clips_without_events_and_dots_in_ids(tmp_path):
    text = DCASE + "a.wav\t\t\t\nb.v1.5\t0\t1\tDog\nc.wav\tNA\tNaN\tNA\n"
    truth = truth_files.read_events(write(tmp_path, text), MODEL)
    assert truth.events == {"a": [], "b.v1.5": [Event(0.0, 1.0, 0)], "c": []}
    assert truth.problems == []


def test_clips_in_sub_folders_are_called_as_the_scores_call_them(tmp_path):
    rows = [f"{name}\t0\t1\tDog\n" for name in ("my/day1/a.wav", "my\\day1\\b.wav")]
    path = write(tmp_path, DCASE + "".join(rows))
    durations = "filename\tduration\nmy/day1/a.wav\t5\nmy/day1/b.wav\t6\n"
    durations = write(tmp_path, durations, "d.tsv")
    for known, ids in (
        ((), ["a", "b"]),
        (["day1-a", "day1-b", "day2-a"], ["day1-a", "day1-b"]),
        (["day1/b", "my/day1/c"], ["day1-a", "day1/b"]),
    ):
        truth = truth_files.read_events(path, MODEL, known_clips=known)
        assert list(truth.events) == ids
        found, _ = truth_files.read_durations(durations, known_clips=known)
        assert found == dict(zip(ids, (5.0, 6.0)))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a\t-0.5\t1\tDog", "starts at -0.5 s, before the clip"),
        ("a\t2\t1\tDog", "ends at 1 s, not after its start 2 s"),
        ("a\t1\t1\tDog", "ends at 1 s, not after its start 1 s"),
        ("a\tnan\t1\tDog", "'nan' to '1' are not seconds"),
        ("a\t0:05\t1\tDog", "'0:05' to '1' are not seconds"),
        ("a\t0\t1\tDoggo", "unknown class 'Doggo'"),
        ("a\t0\t1\tdog", "unknown class 'dog'.*; did you mean 'Dog'"),
        ("a\t0\t1", "3 values"),
        ("\t0\t1\tDog", "no clip is named"),
    ],
)
def test_rows_without_sense_are_named_and_left_out(tmp_path, row, message):
    text = DCASE + f"b\t0\t1\tDog\n{row}\nb\t3\t4\tDog\n"
    truth = truth_files.read_events(write(tmp_path, text), MODEL)
    # Of a class that nobody knows or not: somebody has listened to the clip.
    heard = {"a": []} if "class" in message else {}
    assert truth.events == {"b": [Event(0.0, 1.0, 0), Event(3.0, 4.0, 0)]} | heard
    (problem,) = truth.problems
    assert re.search(message, problem)
    assert "t.tsv line 3" in problem


def test_audioset_strong_beside_columns_of_its_segments(tmp_path):
    header = "filename,start_seconds,end_seconds,labels," + AUDIOSET.replace("\t", ",")
    row = 'x.wav,30,40,"/m/07qrkrw",a_30000,0.5,1.25,/m/0bt9lr\n'
    truth = truth_files.read_events(write(tmp_path, header + row, "t.csv"), MODEL)
    assert truth.events == {"a_30000": [Event(0.5, 1.25, 0)]}
    assert truth.vocabulary.names == ("Dog",)


def test_tables_are_read_as_prepare_reads_them(tmp_path):
    birds = Vocabulary("model", ("V\u00f6gel", "Dog"))
    text = (
        "sep=;\nfile;start;end;label\na;0;1;Vo\u0308gel\n"
        'b;0;1;"Dog"\nc;0;1;Thing of ours\n'
    )
    truth = truth_files.read_events(write(tmp_path, text, "t.csv"), birds)
    assert truth.vocabulary.names == birds.names
    # Somebody has listened to c, so what is detected in it counts.
    assert truth.events == {
        "a": [Event(0.0, 1.0, 0)],
        "b": [Event(0.0, 1.0, 1)],
        "c": [],
    }
    (problem,) = truth.problems
    assert "unknown class 'Thing of ours'" in problem
    text = DCASE + 'a\t0\t1\t"Dog\nb\t0\t1\tDog\nc\t0\t1\tDog\n'
    truth = truth_files.read_events(write(tmp_path, text), birds)
    assert len(truth.events) == 3 and len(truth.problems) == 1


def test_classes_the_model_lacks_are_known_from_audioset_or_the_list(tmp_path):
    path = write(tmp_path, DCASE + "a\t0\t1\tSpeech\na\t0\t1\tThing\n")
    truth = truth_files.read_events(path, MODEL)
    assert truth.vocabulary.mids == ("/m/09x0r",)
    assert "unknown class 'Thing'" in truth.problems[0]
    classes = truth_files.read_classes(
        write(tmp_path, "mid,display_name\n/x/1,Thing\n/x/2,Speech\n", "c.csv")
    )
    truth = truth_files.read_events(path, MODEL, classes)
    assert truth.problems == []
    assert truth.vocabulary.mids == ("/x/1", "/x/2")
    assert truth.events == {"a": [Event(0.0, 1.0, 1), Event(0.0, 1.0, 0)]}


def test_listed_classes_are_the_vocabulary_even_if_no_event_is_of_them(tmp_path):
    classes = write(tmp_path, "label,idx\nDog,1\n60,0\nCat,2\n", "labels.csv")
    classes = truth_files.read_classes(classes)
    path = write(tmp_path, DCASE + "a\t0\t1\t60\nb\t\t\t\n")
    truth = truth_files.read_events(path, MODEL, classes)
    assert truth.vocabulary.names == ("Dog", "60", "Cat")
    assert truth.events == {"a": [Event(0.0, 1.0, 1)], "b": []}
    path = write(tmp_path, DCASE + "b\t\t\t\n")
    with pytest.raises(InputError, match="no usable event"):
        truth_files.read_events(path, MODEL, classes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the table is empty"),
        ("filename\tonset\toffset\na\t0\t1\n", r"no column of labels \(event_label, "),
        ("file,onset,duration,label\na,0,1,Dog\n", "'duration' seem to be durations"),
        (
            "file,onset_ms,end,label\na,0,1,Dog\n",
            r"no column of onsets .*found file, onset_ms",
        ),
        ("file,onset,label\na,0,Dog\n", "no column of offsets"),
        ("x," * 9000 + "\n", r"no column of files .*; found x, x, [x, ]{,200}\[...\]$"),
        (DCASE, "no usable event"),
        (DCASE + "a\t3\t1\tDog\n", "no usable event; .* not after its start"),
    ],
)
def test_tables_without_sense_are_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        truth_files.read_events(write(tmp_path, text), MODEL)


def test_unreadable_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.tsv cannot be read: No such file"):
        truth_files.read_events(tmp_path / "nowhere.tsv", MODEL)
    (tmp_path / "b.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(
        InputError, match=r"b\.tsv is not UTF-8 \(after line 0\); save it"
    ):
        truth_files.read_durations(tmp_path / "b.tsv")


@pytest.mark.parametrize(
    "text",
    [
        "filename\tduration\na.wav\t10.0\nb\t2.5\n",
        "\ufefffilename,duration\r\na.wav,10.0\r\nb,2.5\r\n",
        "duration;filename\n10.0;a.wav\n2.5;b\n",
        "a,10.0\nb,2.5\n",
    ],
    ids=["tsv", "csv-bom-crlf", "semicolon", "no-header"],
)
def test_durations(tmp_path, text):
    found = truth_files.read_durations(write(tmp_path, text))
    assert found == ({"a": 10.0, "b": 2.5}, [])


def test_broken_durations(tmp_path):
    text = "filename\tduration\na\t10\nb\t0\nc\tlong\nd\n"
    found, problems = truth_files.read_durations(write(tmp_path, text))
    assert found == {"a": 10.0}
    assert [p.split(" line ")[1][0] for p in problems] == ["3", "4", "5"]
    with pytest.raises(InputError, match="expected filename, duration"):
        truth_files.read_durations(write(tmp_path, "file\tlength\na\t10\n"))
    with pytest.raises(InputError, match="no usable duration"):
        truth_files.read_durations(write(tmp_path, "filename\tduration\na\t0\n"))


def test_class_tables(tmp_path):
    plain = truth_files.read_classes(write(tmp_path, "/m/1\tDog, big\n/m/2\tCat\n"))
    assert plain.names == ("Dog, big", "Cat")
    assert plain.mids == ("/m/1", "/m/2")
    text = 'index,mid,display_name\n0,/m/1,"Dog, big"\n1,/m/2,Cat\n'
    assert truth_files.read_classes(write(tmp_path, text)).names == plain.names
    own = truth_files.read_classes(write(tmp_path, "mid,name\n,Cat\n/m/1,Dog\n,Cow\n"))
    assert (own.names, own.mids) == (("Cat", "Dog", "Cow"), (None, "/m/1", None))
    labels = truth_files.read_classes(write(tmp_path, 'idx,label\n1,"A, b"\n0,C\n'))
    assert (labels.names, labels.mids) == (("A, b", "C"), (None, None))
    with pytest.raises(InputError, match="line 3: expected an idx and a label"):
        truth_files.read_classes(write(tmp_path, "idx,label\n0,Dog\n1,\n"))
    with pytest.raises(InputError, match="expected MID and name"):
        truth_files.read_classes(write(tmp_path, "a\tb\tc\n"))
    with pytest.raises(InputError, match="line 2: expected a MID and a name"):
        truth_files.read_classes(write(tmp_path, "/m/1\tDog\n/m/2\n"))
