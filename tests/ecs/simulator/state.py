"""The world: clusters, instances, definitions, services and tasks, and who is told when they change.

Records are in the API's own shape (camelCase, times as aware datetimes) and are never edited: a change puts a new
dict in the old one's place. So an old view stays whole, and reads may lag without copies of everything.

Threads: every method takes `lock`. Listeners and drivers are called without it, on one thread, in order.
"""

import collections
import datetime
import itertools
import threading
import time
import uuid

KINDS = ("cluster", "instance", "definition", "service", "task")
# ECS keeps stopped tasks for an hour at least.
STOPPED_STAYS = 3600.0
# Reads never lag more than this.
HISTORY = 120.0
# How often the loop looks, in seconds, when nobody wakes it.
TICK = 0.02

# A change that listeners are told: `kind` is one of KINDS, or `action` (`after` is an event of a service).
Change = collections.namedtuple("Change", "kind key before after at")


class Clock:
    """The time, which a test may move on."""

    def __init__(self):
        self._ahead = 0.0

    def now(self):
        return time.time() + self._ahead

    def date(self):
        # ECS counts milliseconds.
        return datetime.datetime.fromtimestamp(round(self.now(), 3), datetime.timezone.utc)

    def advance(self, seconds):
        self._ahead += seconds


class World:
    """All that is known to the API, and the loop that drives it."""

    def __init__(self, account="123456789012", region="eu-central-1"):
        self.account, self.region = account, region
        self.clock = Clock()
        self.lock = threading.RLock()
        self.records = {kind: {} for kind in KINDS}
        self.tags = {}
        # What a record does not show: key of a task or service -> dict.
        self.private = collections.defaultdict(dict)
        # Drivers of tasks, the first that takes a task has it. The stepper is the last.
        self.drivers = []
        # Called with each Change.
        self.listeners = []
        self.numbers = itertools.count(1)
        self.lag = 0.0
        self._frozen = None
        self._frozen_reads = 0
        self._history = collections.deque()
        self._told = collections.deque()
        self._members = collections.defaultdict(set)
        self._wake = threading.Event()
        self._ended = threading.Event()

    # Names.

    def arn(self, kind, rest):
        return f"arn:aws:ecs:{self.region}:{self.account}:{kind}/{rest}"

    def identity(self):
        return uuid.uuid4().hex

    # Records.

    def put(self, kind, key, record):
        """Sets a record (None: removes it) and tells."""
        with self.lock:
            here = self.records[kind]
            before = here.get(key)
            if record is None:
                here.pop(key, None)
            else:
                here[key] = record
            if kind == "task" and (before or record):
                owner = self.private[key].get("service")
                if owner and record:
                    self._members[owner].add(key)
                elif owner:
                    self._members[owner].discard(key)
            now = self.clock.now()
            if self.lag:
                self._history.append((now, kind, key, before))
                while self._history and self._history[0][0] < now - HISTORY:
                    self._history.popleft()
            self.tell(Change(kind, key, before, record, now))
            return record

    def tell(self, change):
        """Has the listeners called with it, soon."""
        with self.lock:
            self._told.append(change)
            self._wake.set()

    def change(self, kind, key, **fields):
        """A record with some fields new; fields that are None go."""
        with self.lock:
            record = {**self.records[kind][key], **fields}
            return self.put(kind, key, {name: value for name, value in record.items() if value is not None})

    def find(self, kind, key):
        with self.lock:
            return self.records[kind].get(key)

    def tasks_of(self, service):
        """Records of a service's tasks, stopped ones too, oldest first."""
        with self.lock:
            tasks = [self.records["task"][arn] for arn in self._members[service] if arn in self.records["task"]]
        return sorted(tasks, key=lambda task: self.private[task["taskArn"]]["number"])

    # Reads that lag.

    def freeze(self, reads):
        """The next `reads` reads see the world as it is now."""
        with self.lock:
            self._frozen = {kind: dict(records) for kind, records in self.records.items()}
            self._frozen_reads = reads

    def set_lag(self, seconds):
        with self.lock:
            self.lag = min(seconds, HISTORY)

    def view(self):
        """What a read of the API sees: kind -> key -> record."""
        with self.lock:
            if self._frozen_reads > 0:
                self._frozen_reads -= 1
                return self._frozen
            if not self.lag:
                return self.records
            seen = {kind: dict(records) for kind, records in self.records.items()}
            for at, kind, key, before in reversed(self._history):
                if at <= self.clock.now() - self.lag:
                    break
                if before is None:
                    seen[kind].pop(key, None)
                else:
                    seen[kind][key] = before
            return seen

    # The loop.

    def driver(self, arn):
        return next(driver for driver in self.drivers if driver.takes(arn))

    def run(self):
        """Starts the loop that calls listeners and drivers."""
        threading.Thread(target=self._loop, name="world", daemon=True).start()

    def end(self):
        self._ended.set()
        self._wake.set()

    def _loop(self):
        while not self._ended.is_set():
            self._wake.wait(TICK)
            self._wake.clear()
            self.turn()

    def turn(self):
        """One turn of the loop: tells what happened, then lets drivers do what is due."""
        while True:
            with self.lock:
                if not self._told:
                    break
                change = self._told.popleft()
            for listener in self.listeners:
                listener(change)
        for driver in self.drivers:
            driver.tick(self.clock.now())
        self._forget()

    def _forget(self):
        with self.lock:
            gone = self.private["stopped"]
            while gone and next(iter(gone.values())) < self.clock.now() - STOPPED_STAYS:
                key = next(iter(gone))
                del gone[key]
                self.put("task", key, None)
                self.private.pop(key, None)
