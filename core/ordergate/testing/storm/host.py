"""One machine of a storm: starts its processes, lets them begin together, kills some and starts those again.

    python -m ordergate.testing.storm.host FOLDER FIRST COUNT

It says `ready` when all its processes are, and begins when it is told to, by a line. It never has a thread of its own:
it forks.
"""

from __future__ import annotations

import os
import selectors
import signal
import sys
import traceback
from pathlib import Path
from typing import NoReturn

from attrs import define, field

from ordergate.clock import Clock, SystemClock
from ordergate.testing.simulation.draw import Draw
from ordergate.testing.storm.caller import ANSWERED, CALLED, READY, STOP, Process
from ordergate.testing.storm.plan import Plan, read_plan

__all__ = ["Host"]


@define
class _Life:
    """A process, from its fork to its end."""

    number: int
    pid: int
    heard: int
    """The file on which it tells what it does."""
    killed: bool = False


@define
class Host:
    """`numbers` are those of its processes, out of all of the storm."""

    plan: Plan
    folder: Path
    numbers: range
    clock: Clock = field(factory=SystemClock)
    _selector: selectors.BaseSelector = field(factory=selectors.DefaultSelector)
    _lives: dict[int, _Life] = field(factory=dict)
    _called: int = 0
    _answered: int = 0
    _killed: int = 0

    def run(self) -> int:
        """Everything from the first fork to the last end. Returns how many processes failed."""
        gate, opens = os.pipe()
        for number in self.numbers:
            self._start(number, (gate, opens))
        os.close(gate)
        self._until_ready()
        print("ready", flush=True)  # noqa: T201 - whoever started this machine waits for it
        sys.stdin.readline()
        os.close(opens)  # every process that waits sees the end of the file in the same moment
        draw, failed = Draw("kills", self.plan.seed, self.numbers.start), 0
        kills = self._moments(draw)
        while self._lives:
            for key, _ in self._selector.select():
                failed += self._hear(key.data)
            if kills and self._called >= kills[0]:
                kills.pop(0)
                self._kill(draw)
            self._stop_if_due()
        return failed

    def _moments(self, draw: Draw) -> list[int]:
        """After how many calls somebody is killed."""
        plan = self.plan
        calls = plan.served or len(self.numbers) * plan.threads * plan.intents
        return sorted(1 + draw.below(max(1, calls * 9 // 10)) for _ in range(plan.kills))

    def _start(self, number: int, waits: tuple[int, int] | None) -> None:
        heard, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._be(number, tell, waits)
        os.close(tell)
        life = _Life(number, pid, heard)
        self._lives[number] = life
        self._selector.register(heard, selectors.EVENT_READ, life)

    def _be(self, number: int, tell: int, waits: tuple[int, int] | None) -> NoReturn:
        code = 1
        try:

            def wait() -> None:
                if waits is not None:
                    os.read(waits[0], 1)

            if waits is not None:
                os.close(waits[1])
            Process(self.plan, self.folder, number, tell).live(wait)
            code = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            raise
        finally:
            os._exit(code)

    def _until_ready(self) -> None:
        waiting = len(self.numbers)
        while waiting > 0:
            for key, _ in self._selector.select():
                told = os.read(key.fd, 1)
                if told != READY:
                    raise SystemExit(f"process {key.data.number} ended before the storm began")
                waiting -= 1

    def _hear(self, life: _Life) -> int:
        """What a process told. 1 when it has ended and should not have."""
        told = os.read(life.heard, 4096)
        self._called += told.count(CALLED)
        self._answered += told.count(ANSWERED)
        if told:
            return 0
        self._selector.unregister(life.heard)
        os.close(life.heard)
        del self._lives[life.number]
        code = os.waitstatus_to_exitcode(os.waitpid(life.pid, 0)[1])
        if life.killed and code == -signal.SIGKILL:
            self._start(life.number, None)
            return 0
        return int(code != 0)

    def _kill(self, draw: Draw) -> None:
        alive = [life for _, life in sorted(self._lives.items()) if not life.killed]
        if alive:
            self.clock.sleep(draw.below(12) / 1000)  # somewhere in the middle of what it is doing, not at its start
            life = draw.choice(alive)
            life.killed = True
            os.kill(life.pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
            self._killed += 1

    def _stop_if_due(self) -> None:
        plan = self.plan
        quiet = [number for number in self._lives if number != 0]
        if (plan.served is not None and self._answered >= plan.served) or (plan.noisy and not quiet):
            (self.folder / STOP).touch()


def main(folder: str, first: str, count: str) -> int:
    plan = read_plan(Path(folder))
    numbers = range(int(first), int(first) + int(count))
    failed = Host(plan, Path(folder), numbers).run()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
