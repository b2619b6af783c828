"""`kill -9`, same command again: the bits of a run never killed."""

from benchmarks import kill_and_resume

# As short as a chain can be that is killed in an ensemble and in a training, each of
# which goes on from what the link before it left.
CHAIN = (
    "--config.order=('scenes', 'teacher_atst_frame', 'ensemble', 'student')",
    "--config.links.teacher_atst_frame.init=",
    "--config.links.teacher_atst_frame.model.sequence=none",
    "--config.links.student.init=",
    "--config.links.ensemble.batch_size=8",
)


def test_a_killed_chain_ends_with_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    whole, killed, notes = kill_and_resume.torture(
        tmp_path,
        kills=1,
        seed=1,
        config="configs/debug.py:atst_frame",
        settings=CHAIN,
        signs={
            "ensemble": "logits/in_progress/00000.json",
            "student": "checkpoints/2",
        },
        stages=("ensemble", "student"),
    )
    assert len(whole) == 4
    assert whole == killed, notes
    assert not any("finished" in note for note in notes), notes
