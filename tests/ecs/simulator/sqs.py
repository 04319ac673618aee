"""The queue that EventBridge's rule fills: SQS's JSON protocol, long polls, and messages that come again when they are
not deleted in time."""

import collections
import hashlib
import threading
import time
import uuid

from .errors import Refused

TARGET = "AmazonSQS"
NAME = "outrigger"
# Seconds, SQS's own defaults and bounds.
VISIBILITY, MOST_WAIT, MOST_MESSAGES = 30, 20, 10
# Older messages go when nobody reads.
KEPT = 200_000


class Queue:
    """One standard queue."""

    def __init__(self):
        self._there = threading.Condition()
        self._waiting = collections.deque(maxlen=KEPT)
        # [visible from, message], of those that are in flight or delayed.
        self._later = []
        self._sent = self._deleted = 0

    def send(self, body, visible=0.0):
        """Puts a message, visible at once or from a monotonic time on."""
        message = {"MessageId": str(uuid.uuid4()), "MD5OfBody": hashlib.md5(body.encode()).hexdigest(), "Body": body}
        message["Attributes"] = {"SentTimestamp": str(int(time.time() * 1000)), "ApproximateReceiveCount": "0",
                                 "SenderId": "AIDAEXAMPLE", "ApproximateFirstReceiveTimestamp": "0"}
        with self._there:
            self._sent += 1
            if visible:
                self._later.append([visible, message])
            else:
                self._waiting.append(message)
            self._there.notify_all()

    def receive(self, most, wait, visibility):
        """Takes up to `most` messages, waiting for the first; they come again after `visibility` seconds."""
        end = time.monotonic() + wait
        with self._there:
            while True:
                self._ripen()
                if self._waiting or time.monotonic() >= end:
                    break
                soonest = min((at for at, _ in self._later), default=end)
                self._there.wait(max(0.001, min(end, soonest) - time.monotonic()))
            taken = []
            while self._waiting and len(taken) < most:
                message = self._waiting.popleft()
                seen = message["Attributes"]
                count = int(seen["ApproximateReceiveCount"]) + 1
                now = str(int(time.time() * 1000))
                first = seen["ApproximateFirstReceiveTimestamp"] if count > 1 else now
                message = {**message, "ReceiptHandle": uuid.uuid4().hex, "Attributes": {
                    **seen, "ApproximateReceiveCount": str(count), "ApproximateFirstReceiveTimestamp": first}}
                self._later.append([time.monotonic() + visibility, message])
                # The answer leaves out what nobody asked for; the message may come again.
                taken.append(dict(message))
            return taken

    def delete(self, handle):
        """Whether there was such a message in flight; a later receipt makes an earlier one worth nothing."""
        with self._there:
            kept = [entry for entry in self._later if entry[1].get("ReceiptHandle") != handle]
            found = len(kept) < len(self._later)
            self._later = kept
            self._deleted += found
            return found

    def show_in(self, handle, seconds):
        with self._there:
            for entry in self._later:
                if entry[1].get("ReceiptHandle") == handle:
                    entry[0] = time.monotonic() + seconds
            self._there.notify_all()

    def purge(self):
        with self._there:
            self._waiting.clear()
            self._later.clear()

    def counts(self):
        with self._there:
            self._ripen()
            flying = sum("ReceiptHandle" in message for _, message in self._later)
            return {"waiting": len(self._waiting), "in_flight": flying, "delayed": len(self._later) - flying,
                    "sent": self._sent, "deleted": self._deleted}

    def _ripen(self):
        now = time.monotonic()
        ripe = [message for at, message in self._later if at <= now]
        if ripe:
            self._later = [entry for entry in self._later if entry[0] > now]
            self._waiting.extend(ripe)


class Api:
    """The operations by name, as `api.Api` has them for ECS."""

    def __init__(self, queue):
        self.queue = queue

    def call(self, operation, asked):
        act = getattr(self, operation, None)
        if act is None:
            raise Refused("UnsupportedOperation", f"the simulator does not know {operation}")
        if asked.get("QueueUrl", NAME).rsplit("/", 1)[-1] != NAME:
            raise Refused("com.amazonaws.sqs#QueueDoesNotExist", "The specified queue does not exist.")
        return act(asked)

    def ReceiveMessage(self, asked):
        wait, most = asked.get("WaitTimeSeconds", 0), asked.get("MaxNumberOfMessages", 1)
        if not 0 <= wait <= MOST_WAIT or not 1 <= most <= MOST_MESSAGES:
            raise Refused("InvalidParameterValue", "WaitTimeSeconds is 0 to 20, MaxNumberOfMessages 1 to 10.")
        wanted = {*asked.get("AttributeNames", []), *asked.get("MessageSystemAttributeNames", [])}
        taken = self.queue.receive(most, wait, asked.get("VisibilityTimeout", VISIBILITY))
        for message in taken:
            seen = message.pop("Attributes")
            shown = {name: value for name, value in seen.items() if wanted & {"All", name}}
            if shown:
                message["Attributes"] = shown
        return {"Messages": taken} if taken else {}

    def DeleteMessage(self, asked):
        self.queue.delete(asked["ReceiptHandle"])
        return {}

    def DeleteMessageBatch(self, asked):
        entries = asked["Entries"]
        if not 1 <= len(entries) <= MOST_MESSAGES:
            raise Refused("com.amazonaws.sqs#TooManyEntriesInBatchRequest", "A batch has 1 to 10 entries.")
        if len({one["Id"] for one in entries}) != len(entries):
            raise Refused("com.amazonaws.sqs#BatchEntryIdsNotDistinct", "Ids of a batch are distinct.")
        for one in entries:
            self.queue.delete(one["ReceiptHandle"])
        return {"Successful": [{"Id": one["Id"]} for one in entries], "Failed": []}

    def ChangeMessageVisibility(self, asked):
        self.queue.show_in(asked["ReceiptHandle"], asked["VisibilityTimeout"])
        return {}

    def GetQueueAttributes(self, asked):
        counts = self.queue.counts()
        known = {
            "ApproximateNumberOfMessages": counts["waiting"],
            "ApproximateNumberOfMessagesNotVisible": counts["in_flight"],
            "ApproximateNumberOfMessagesDelayed": counts["delayed"],
            "VisibilityTimeout": VISIBILITY,
            "ReceiveMessageWaitTimeSeconds": 0,
            "MessageRetentionPeriod": 345_600,
        }
        wanted = asked.get("AttributeNames", [])
        shown = {name: str(value) for name, value in known.items() if name in wanted or "All" in wanted}
        return {"Attributes": shown} if shown else {}
