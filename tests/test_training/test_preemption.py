import os
import signal
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
