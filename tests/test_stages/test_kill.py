"""`kill -9`, same command again: the bits of a run never killed."""

from benchmarks import kill_and_resume


def test_a_killed_chain_ends_with_the_same_bits(tmp_path):
    whole, killed, notes = kill_and_resume.torture(
        tmp_path,
        kills=1,
        seed=1,
        stages=("ensemble", "student"),
        # One kind of encoder: what is tested is resuming, and a start costs seconds.
        config="configs/debug.py:atst_frame",
    )
    assert len(whole) == 6
    assert whole == killed, notes
