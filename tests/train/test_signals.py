"""A request to stop is noticed while torch computes, and a second Ctrl-C ends what does not answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from bench.train.signals import StopRequest

# A lock that is waited for in C stands for a long operation: no handler of Python's runs meanwhile.
BLOCKED = """
import ctypes, os, signal, threading
from bench.train import signals

pthread, lock = ctypes.CDLL(None), ctypes.create_string_buffer(64)
pthread.pthread_mutex_lock(lock)
block = lambda: pthread.pthread_mutex_lock(lock)
ask = lambda: os.kill(os.getpid(), signal.SIGINT)
"""


def python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BLOCKED + program], capture_output=True, text=True, timeout=120)


def test_it_is_announced_at_once_and_the_operation_goes_on() -> None:
    done = python(
        "with signals.StopRequest() as stop:\n"
        "    stop.announce = lambda: (print('stopping', flush=True), pthread.pthread_mutex_unlock(lock))\n"
        "    threading.Thread(target=ask).start()\n"
        "    block()\n"  # until it is announced
        "    while not stop.asked: pass\n"
        "print('left')"
    )
    assert (done.returncode, done.stdout) == (0, "stopping\nleft\n"), done.stderr


def test_a_second_ctrl_c_ends_an_operation_that_cannot_be_interrupted() -> None:
    done = python(
        "signals.GRACE_SECONDS = 0\n"
        "with signals.StopRequest() as stop:\n"
        "    stop.announce = lambda: threading.Thread(target=ask).start()\n"
        "    threading.Thread(target=ask).start()\n"
        "    block(); print('not here')"
    )
    assert (done.returncode, done.stdout) == (130, ""), done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_is_announced_once_and_nothing_stays(number: signal.Signals) -> None:
    before, threads, announced = signal.getsignal(number), set(threading.enumerate()), []
    with StopRequest() as stop:
        stop.announce = lambda: announced.append(1)
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGTERM)
    assert stop.asked
    assert announced == [1]
    assert signal.getsignal(number) is before
    assert signal.set_wakeup_fd(-1) == -1
    assert {one for one in threading.enumerate() if one.is_alive()} <= threads


def test_a_closed_terminal_is_no_request_where_that_is_ignored() -> None:
    """`nohup` says so."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
        assert not stop.asked
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_signals_are_no_request() -> None:
    """A loader watches its workers by SIGCHLD."""
    others, announced = [], []
    before = signal.signal(signal.SIGUSR1, lambda *_: others.append(1))
    try:
        with StopRequest() as stop:
            stop.announce = lambda: announced.append(1)
            os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert (others, announced, stop.asked) == ([1], [], False)
