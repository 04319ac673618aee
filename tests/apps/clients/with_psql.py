"""psql and psycopg2 against a PostgreSQL without TLS behind the mesh."""

import hashlib, io, os, select, signal, subprocess, threading, time
import psycopg2
from checks import check, finish, same, sha256, until

WHERE = "host=database user=shop dbname=shop password=correct-horse connect_timeout=10"
ROWS = 100_000


def psql(query, options="", data=None, succeeds=True):
    done = subprocess.run(["psql", f"{WHERE} {options}", "-v", "ON_ERROR_STOP=1", "-Atc", query], input=data, capture_output=True, timeout=60)
    same((done.returncode == 0, done.stderr.decode() if succeeds else ""), (succeeds, ""))
    return (done.stdout if succeeds else done.stderr).decode()


def connect():
    connection = psycopg2.connect(WHERE)
    connection.autocommit = True
    return connection


def value(connection, query):
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]


until("the database answers", lambda: subprocess.run(["psql", WHERE, "-c", "select 1"], capture_output=True).returncode == 0)


@check
def tls_is_asked_for_and_refused_by_the_database():
    for mode in "disable", "allow", "prefer":
        same(psql("select 6 * 7", f"sslmode={mode}"), "42\n")
    assert "server does not support SSL" in psql("select 1", "sslmode=require", succeeds=False)


@check
def copy_in_and_out():
    psql("create table items (id int primary key, name text)")
    rows = "".join(f"{number}\titem {sha256(b'%d' % number)}\n" for number in range(ROWS)).encode()
    psql("copy items from stdin", data=rows)
    same(psql("select count(*), sum(id) from items"), f"{ROWS}|{ROWS * (ROWS - 1) // 2}\n")
    same(sha256(psql("copy (select * from items order by id) to stdout").encode()), sha256(rows))
    back = io.StringIO()
    with connect() as connection, connection.cursor() as cursor:
        cursor.copy_expert("copy (select * from items order by id) to stdout", back)
    same(sha256(back.getvalue().encode()), sha256(rows))


@check
def a_cursor_in_a_transaction():
    connection = psycopg2.connect(WHERE)
    with connection, connection.cursor("named") as cursor:
        cursor.itersize = 1000
        cursor.execute("select id from items order by id")
        same(sum(row[0] for row in cursor), ROWS * (ROWS - 1) // 2)
    connection.close()


@check
def notices_from_one_connection_to_another():
    listener, notifier = connect(), connect()
    listener.cursor().execute("listen news")
    time.sleep(2)  # longer than a request may take: nothing is said on it meanwhile
    for number in range(20):
        notifier.cursor().execute(f"notify news, 'item {number}'")
    heard = []
    while len(heard) < 20:
        assert select.select([listener], [], [], 10)[0], f"only {heard}"
        listener.poll()
        heard += [listener.notifies.pop(0).payload for _ in range(len(listener.notifies))]
    same(heard, [f"item {number}" for number in range(20)])


@check
def a_query_is_cancelled_over_a_second_connection():
    connection = connect()
    timer = threading.Timer(0.5, connection.cancel)
    timer.start()
    begun = time.monotonic()
    try:
        value(connection, "select pg_sleep(30)")
    except psycopg2.errors.QueryCanceled:
        assert time.monotonic() - begun < 10
    else:
        raise AssertionError("it slept on")
    same(value(connection, "select 1"), 1)


@check
def ctrl_c_in_psql_cancels():
    process = subprocess.Popen(["psql", WHERE, "-Atc", "select pg_sleep(31)"], stderr=subprocess.PIPE)
    watch = connect()
    until("it sleeps", lambda: value(watch, "select count(*) from pg_stat_activity where query = 'select pg_sleep(31)'") == 1)
    process.send_signal(signal.SIGINT)
    assert b"canceling statement due to user request" in process.communicate(timeout=10)[1]
    until("the database sees it go", lambda: value(watch, "select count(*) from pg_stat_activity where query = 'select pg_sleep(31)'") == 0)


@check
def last_words_of_a_session_that_the_database_ends():
    assert "FATAL:  terminating connection due to administrator command" in psql("select pg_terminate_backend(pg_backend_pid())", succeeds=False)
    one, other = connect(), connect()
    same(value(other, f"select pg_terminate_backend({one.get_backend_pid()})"), True)
    try:
        value(one, "select 1")
    except psycopg2.OperationalError:
        pass
    else:
        raise AssertionError("it lives")


@check
def fifty_sessions_at_once():
    connections = [connect() for _ in range(50)]
    pids = {value(connection, "select pg_backend_pid()") for connection in connections}
    same(len(pids), 50)
    large = [value(connection, "select repeat('x', 1000000)") for connection in connections[:10]]
    same({len(text) for text in large}, {1_000_000})
    [connection.close() for connection in connections]


finish()
