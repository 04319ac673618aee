"""Named checks: each runs whatever becomes of the others, and says in one line how it went."""

import hashlib, sys, time, traceback

failed = []
LARGE = 20_000_000
MOST = 1000  # characters of what is shown of one value


def check(function):
    """Runs it at once, under its own name."""
    begun = time.monotonic()
    try:
        function()
    except BaseException as error:
        failed.append(function.__name__)
        where = traceback.format_exc(limit=-2).replace("\n", "\n    ")
        print(f"FAILED {function.__name__}: {type(error).__name__}: {str(error)[:MOST]}\n    {where[:MOST]}")
    else:
        print(f"ok {function.__name__} ({time.monotonic() - begun:.2f} s)")
    sys.stdout.flush()


def short(value):
    text = repr(value)
    return text if len(text) <= MOST else f"{text[:MOST]}... ({len(text)} characters)"


def same(found, wanted):
    assert found == wanted, f"{short(found)}, not {short(wanted)}"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def pattern(length):
    """What `/bytes/N` of serve.js holds."""
    return (bytes(range(251)) * (length // 251 + 1))[:length]


def until(what, ask, seconds=20):
    """Asks until the answer is true."""
    end = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return answer


def finish():
    sys.exit(1 if failed else 0)
