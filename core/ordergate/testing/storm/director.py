"""A storm from its beginning to the checker's word: machines are started, told to begin, and waited for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from ordergate.errors import OrdergateError
from ordergate.testing.storm.checker import check
from ordergate.testing.storm.evidence import Evidence, gather, settle
from ordergate.testing.storm.plan import Plan, write_plan
from ordergate.testing.storm.story import Violation

__all__ = ["Result", "StormFailed", "run_storm"]

_PATIENCE: Final = 600.0  # seconds for everything that a storm of any size we start may take


class StormFailed(OrdergateError):
    """A machine of the storm did not come through: a process ended that nobody killed, or did not end."""

    code = "STORM_FAILED"


@frozen(kw_only=True)
class Result:
    """What came of a storm."""

    plan: Plan
    evidence: Evidence
    violations: tuple[Violation, ...]

    @property
    def answers(self) -> Mapping[str, int]:
        """How many calls ended how; calls whose caller died before it wrote the answer down are `lost`."""
        return Counter(
            "lost" if call.returned is None else call.error or (call.answer["status"] if call.answer else call.do)
            for call in self.evidence.calls
        )

    @property
    def refusals(self) -> Mapping[str, int]:
        """Why orders were refused, as callers were told; an order can have several reasons."""
        return Counter(code for call in self.evidence.calls if call.answer for code in call.answer["codes"])


def run_storm(plan: Plan, folder: Path, *, machines: Sequence[Sequence[str]] = ((),)) -> Result:
    """Run it in an empty folder, settle every order, and check. Raises StormFailed.

    `machines` are what to put before a command so that it runs there; processes are dealt out evenly.
    """
    write_plan(plan, folder)
    share = -(-plan.processes // len(machines))
    hosts = []
    try:
        for number, prefix in enumerate(machines):
            first = number * share
            hosts.append(_start(prefix, folder, first, min(share, plan.processes - first)))
        _run(hosts)
    finally:
        for host in hosts:
            _end(host)
    settle(plan, folder)
    evidence = gather(plan, folder)
    return Result(plan=plan, evidence=evidence, violations=check(evidence))


def _start(prefix: Sequence[str], folder: Path, first: int, count: int) -> subprocess.Popen[str]:
    command = [*prefix, sys.executable, "-m", "ordergate.testing.storm.host", str(folder), str(first), str(count)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True)  # noqa: S603 - our own


def _run(hosts: Sequence[subprocess.Popen[str]]) -> None:
    for host in hosts:
        if host.stdout is None or host.stdout.readline() != "ready\n":
            raise StormFailed("a machine did not get ready; what it printed says why")
    for host in hosts:
        if host.stdin is not None:
            host.stdin.write("go\n")
            host.stdin.flush()
    try:
        for host in hosts:
            host.wait(_PATIENCE)
    except subprocess.TimeoutExpired as late:
        raise StormFailed(f"the storm was not over after {_PATIENCE:g} s") from late
    if any(host.returncode for host in hosts):
        raise StormFailed("a process of the storm ended with an error; what it printed says which")


def _end(host: subprocess.Popen[str]) -> None:
    if host.poll() is None:
        os.killpg(host.pid, signal.SIGKILL)  # what it has forked ends with it
        host.wait()
    for pipe in (host.stdin, host.stdout):
        if pipe is not None:
            pipe.close()
