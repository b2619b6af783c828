import os
import signal
import sys
import time

import pytest

from jaxsed.training import preemption


def tell():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.01)  # until the interpreter has called the handler


def test_a_notice_is_noted_and_no_second_one_kills():
    before = signal.getsignal(signal.SIGTERM)
    with preemption.Notice() as notice:
        assert not notice.must_stop()
        tell()
        tell()
        assert notice.must_stop()
    assert signal.getsignal(signal.SIGTERM) == before


def test_what_takes_long_is_interrupted_once():
    with preemption.Notice() as notice:
        cleaned = []
        with pytest.raises(preemption.Interrupted), notice.interrupting():
            try:
                tell()
                time.sleep(5)
            finally:
                tell()
                cleaned.append("up")
        assert cleaned == ["up"] and notice.must_stop()


def test_what_takes_long_is_not_begun_after_a_notice():
    with preemption.Notice() as notice:
        tell()
        with pytest.raises(preemption.Interrupted), notice.interrupting():
            raise AssertionError("begun")


def test_the_message_says_what_to_do():
    said = str(preemption.Preempted(3, 10))
    assert said.startswith("stopped by SIGTERM after step 3 of 10, which is saved")


@pytest.fixture
def heeded(monkeypatch):
    """SIGTERM is heeded while the test runs."""
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)  # put back
    before = signal.getsignal(signal.SIGTERM)
    preemption.heed()
    yield
    signal.signal(signal.SIGTERM, before)


def test_between_trainings_it_ends_what_is_going_on(heeded):
    cleaned = []
    with pytest.raises(preemption.Stopped):
        try:
            tell()
            time.sleep(5)
        finally:
            tell()
            cleaned.append("up")
    assert cleaned == ["up"]


def test_what_comes_in_a_finaliser_comes_again(heeded, capsys):
    class Freed:
        def __del__(self):
            tell()

    with pytest.raises(preemption.Stopped):
        del_me = Freed()
        del del_me  # Python drops what is raised there, and goes on
        time.sleep(5)
    assert "Stopped" not in capsys.readouterr().err


def test_a_notice_that_came_after_the_last_step_is_passed_on(heeded):
    done = []
    with pytest.raises(preemption.Stopped), preemption.Notice():
        tell()
        done.append("evaluated")
    assert done == ["evaluated"]


def test_a_notice_that_was_followed_is_not_passed_on(heeded):
    with pytest.raises(preemption.Preempted), preemption.Notice() as notice:
        tell()
        assert notice.must_stop()
        raise preemption.Preempted(1, 2)
