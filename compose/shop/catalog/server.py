"""catalog: what the shop sells, out of PostgreSQL. Version v2 tells the stock as well."""

import json, os, queue, signal, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg2

DATABASE = os.environ["DATABASE"]
VERSION = os.environ.get("VERSION", "v1")
COLUMNS = ["id", "name", "cents"] + (["stock"] if VERSION == "v2" else [])

kept = queue.LifoQueue(8)  # open database connections
stopping = threading.Event()
under_way = set()


def log(**fields):
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    print(json.dumps({"time": now, "service": "catalog", "version": VERSION, **fields}), flush=True)


def connect():
    connection = psycopg2.connect(DATABASE, connect_timeout=3)
    connection.autocommit = True
    return connection


def ask(question):
    """Asks the database; a kept connection that died meanwhile is replaced once."""
    try:
        connection, fresh = kept.get_nowait(), False
    except queue.Empty:
        connection, fresh = connect(), True
    try:
        rows = run(connection, question)
    except psycopg2.OperationalError:
        connection.close()
        if fresh:
            raise
        connection = connect()
        rows = run(connection, question)
    try:
        kept.put_nowait(connection)
    except queue.Full:
        connection.close()
    return rows


def run(connection, question):
    with connection.cursor() as cursor:
        cursor.execute(question)
        return cursor.fetchall()


def answer(path):
    try:
        if path == "/items":
            rows = ask(f"select {', '.join(COLUMNS)} from item order by id")
            return 200, {"version": VERSION, "items": [dict(zip(COLUMNS, row)) for row in rows]}
        if path == "/healthz":
            ask("select 1")
            return 200, {"ok": True}
        return 404, {"error": "no such page"}
    except psycopg2.Error as error:
        return 503, {"error": str(error).strip()}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 75  # seconds a kept connection may be idle
    disable_nagle_algorithm = True

    def do_GET(self):
        begun = time.monotonic()
        under_way.add(self)
        status, body = answer(self.path)
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        if stopping.is_set():
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(text)
        under_way.discard(self)
        if self.path != "/healthz":
            trace = {"traceparent": t} if (t := self.headers.get("traceparent")) else {}
            log(method="GET", path=self.path, status=status, ms=round((time.monotonic() - begun) * 1000), **trace)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def stop(server):
    log(message="stopping")
    stopping.set()
    time.sleep(1)  # for callers to learn of it
    server.shutdown()
    for _ in range(50):  # and five seconds for what is under way
        if under_way:
            time.sleep(0.1)


server = Server(("", 8080), Handler)
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: threading.Thread(target=stop, args=[server]).start())
log(message="listening", port=8080)
server.serve_forever(poll_interval=0.1)
