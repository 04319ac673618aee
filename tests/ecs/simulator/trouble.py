"""Trouble to order: what the next calls meet instead of, or besides, their answer."""

import threading

KINDS = ("throttle", "error", "partial", "cut", "delay")


class Trouble:
    """Orders, each {"kind", "operation"?, "count"?, …}; without an operation it is for all, without a count for good.

    `throttle`: ThrottlingException. `error`: `code`, `message`, `status`. `partial`: items whose ARN holds `match`
    (default: every second one) are named in `failures` with `reason` (default MISSING) instead of being described.
    `cut`: the connection ends without an answer. `delay`: `seconds` before the answer.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self.orders = []

    def order(self, order):
        if order.get("kind") not in KINDS:
            raise ValueError(f"kind is one of {', '.join(KINDS)}")
        with self._lock:
            self.orders.append(dict(order))

    def clear(self):
        with self._lock:
            self.orders.clear()

    def meets(self, operation):
        """The orders that this call meets; each is one less afterwards."""
        met = []
        with self._lock:
            for order in self.orders:
                if order.get("operation") in (None, operation) and order.get("count") != 0:
                    if order.get("count"):
                        order["count"] -= 1
                    met.append(dict(order))
            self.orders = [order for order in self.orders if order.get("count") != 0]
        return met
