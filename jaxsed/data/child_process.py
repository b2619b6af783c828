"""Processes that work for another one and must not outlive it."""

import multiprocessing
import os
import threading
from multiprocessing import connection


def leave_with_parent() -> None:
    """Ends this process as soon as its parent has ended, however that happened."""
    parent = multiprocessing.parent_process()

    def wait():
        connection.wait([parent.sentinel])
        os._exit(1)  # a killed parent cannot end its children

    threading.Thread(target=wait, daemon=True).start()
