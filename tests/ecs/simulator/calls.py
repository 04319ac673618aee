"""What was called, when, and what came of it; and the faults that botocore's model found."""

import collections
import threading


class Calls:
    """A record of every call of the API, oldest first."""

    def __init__(self):
        self._lock = threading.Lock()
        self._calls = collections.deque(maxlen=200_000)
        self._faults = []

    def note(self, **call):
        """`time` (seconds), `service`, `operation`, `outcome` (`ok` or an error's code), `seconds`, `items`."""
        with self._lock:
            self._calls.append(call)

    def fault(self, operation, side, text):
        """`side` is `question` (the caller erred) or `answer` (the simulator did)."""
        with self._lock:
            self._faults.append({"operation": operation, "side": side, "text": text})

    def since(self, time=0.0, operation=None):
        with self._lock:
            return [call for call in self._calls if call["time"] >= time and operation in (None, call["operation"])]

    def faults(self):
        with self._lock:
            return list(self._faults)

    def clear(self):
        with self._lock:
            self._calls.clear()
            self._faults.clear()
