"""redis-cli against a server behind the mesh."""

import subprocess, time
from checks import check, finish, same, until

CLI = ["redis-cli", "-h", "redis"]
COMMANDS = 100_000


def cli(*words, data=None):
    done = subprocess.run([*CLI, *words], input=data, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def background(*words):
    return subprocess.Popen([*CLI, *words], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)


def clients():
    return cli("client", "list")


@check
def commands_one_by_one():
    same(cli("set", "cart", "full"), "OK\n")
    same(cli("get", "cart"), "full\n")
    same(cli("-x", "set", "large", data=b"z" * 5_000_000), "OK\n")
    same(cli("strlen", "large"), "5000000\n")


@check
def a_pipeline_of_a_hundred_thousand():
    encoded = lambda *words: b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
    said = cli("--pipe", data=b"".join(encoded(b"RPUSH", b"list", b"%d" % number) for number in range(COMMANDS)))
    assert f"errors: 0, replies: {COMMANDS}" in said, said
    same(cli("llen", "list"), f"{COMMANDS}\n")
    same(cli("lrange", "list", "0", "-1"), "".join(f"{number}\n" for number in range(COMMANDS)))


@check
def publish_and_subscribe():
    subscriber = background("subscribe", "news")
    try:
        same([next(subscriber.stdout).strip() for _ in range(3)], ["subscribe", "news", "1"])
        for number in range(100):
            same(cli("publish", "news", f"item {number}") if number % 20 == 0 else "1\n", "1\n")
        same([next(subscriber.stdout).strip() for _ in range(15)], [word for number in range(0, 100, 20) for word in ("message", "news", f"item {number}")])
    finally:
        subscriber.kill()


@check
def a_blocking_pop_outlives_every_timeout():
    """mesh.yaml gives `redis` requests one second: that is for requests, not for bytes."""
    popper = background("blpop", "later", "20")
    until("it blocks", lambda: "cmd=blpop" in clients())
    time.sleep(2)
    same(cli("rpush", "later", "there"), "1\n")
    same(popper.communicate(timeout=10)[0], "later\nthere\n")
    begun = time.monotonic()
    same(cli("blpop", "never", "1.5"), "\n")
    assert 1.4 < time.monotonic() - begun < 6


@check
def monitor_sees_others():
    monitor = background("monitor")
    try:
        same(next(monitor.stdout), "OK\n")
        cli("set", "seen", "by-the-monitor")
        assert any('"by-the-monitor"' in line for line in iter(monitor.stdout.readline, "")), "the stream goes on"
    finally:
        monitor.kill()
    until("the server sees it go", lambda: "cmd=monitor" not in clients())


@check
def a_killed_client_is_told():
    blocked = background("blpop", "nothing", "30")
    number = until("it blocks", lambda: next((line.split()[0][3:] for line in clients().splitlines() if "cmd=blpop" in line), None))
    same(cli("client", "kill", "id", number), "1\n")
    assert blocked.wait(10) != 0, "the connection ended"


finish()
