"""Telling the observers: after the fact, one by one, and away from the order path.

Each observer has a queue and a thread of its own. One that raises gets a line in the log; one that hangs fills its own
queue and misses what follows. Neither can delay, change or stop an order.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ordergate.calls import Failed, attempt
from ordergate.plugins import Admitted

__all__ = ["Observers"]

_WAITING: Final = 1000  # events an observer may lag behind before it misses some
_log = logging.getLogger("ordergate.observers")


class Observers:
    """The active observers with their settings."""

    def __init__(self, active: Sequence[tuple[Admitted, Any]]) -> None:
        self._listeners = [_Listener(plugin, settings) for plugin, settings in active]

    def tell(self, hook: str, **values: Any) -> None:
        for listener in self._listeners:
            listener.tell(hook, values)

    def close(self, seconds: float = 2.0) -> None:
        """Let each finish what is queued, for at most `seconds`."""
        for listener in self._listeners:
            listener.close(seconds)


class _Listener:
    def __init__(self, plugin: Admitted, settings: Any) -> None:
        self._plugin, self._settings = plugin, settings
        self._events: queue.Queue[tuple[str, Mapping[str, Any]] | None] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None

    def tell(self, hook: str, values: Mapping[str, Any]) -> None:
        if hook not in self._plugin.hooks:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"ordergate-{self._plugin.name}", daemon=True)
            self._thread.start()
        try:
            self._events.put_nowait((hook, values))
        except queue.Full:
            _log.warning("observer %s is %d events behind and misses one", self._plugin.name, _WAITING)

    def close(self, seconds: float) -> None:
        if self._thread is None:
            return
        try:
            self._events.put(None, timeout=seconds)
        except queue.Full:
            return
        self._thread.join(seconds)

    def _run(self) -> None:
        while (event := self._events.get()) is not None:
            hook, values = event
            try:
                attempt(self._plugin.hooks[hook].call, {**values, "settings": self._settings})
            except Failed as failed:
                _log.warning("observer %s failed in %s: %s", self._plugin.name, hook, failed)
