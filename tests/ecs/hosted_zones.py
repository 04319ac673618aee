"""Route 53 for one test: moto's, behind an HTTP address of its own, with calls that can be refused.

    python hosted_zones.py [ADDRESS]

The first line of its output is `{"url": …}`. After that each line of its input is an order, and each gets a line:
`{"call": "create_hosted_zone", "with": {…}}` calls moto by boto3 and gives what it answers;
`{"refuse": "Throttling", "count": 4}` has the next HTTP calls refused, as Route 53 does it;
`{"calls": true}` gives the HTTP calls so far: method and path. It ends with its input."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import requests
from moto import mock_aws

REFUSED = """<?xml version="1.0"?>
<ErrorResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><Error><Type>Sender</Type><Code>{code}</Code>\
<Message>not now</Message></Error><RequestId>00000000-0000-0000-0000-000000000000</RequestId></ErrorResponse>"""

lock = threading.Lock()
refusals = []
calls = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        with lock:
            calls.append(f"{self.command} {self.path}")
            code = refusals.pop(0) if refusals else None
            status, content = (400, REFUSED.format(code=code).encode()) if code else self.by_moto(body)
        self.send_response(status)
        self.send_header("content-type", "text/xml")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = answer

    def by_moto(self, body):
        kept = {name: self.headers[name] for name in ("authorization", "content-type") if name in self.headers}
        url = "https://route53.amazonaws.com" + self.path
        answer = requests.request(self.command, url, data=body, headers=kept, timeout=30)
        return answer.status_code, answer.content

    def log_message(self, *_):
        pass


def obey(route53, order):
    with lock:
        if "call" in order:
            return getattr(route53, order["call"])(**order["with"])
        if "refuse" in order:
            refusals.extend([order["refuse"]] * order["count"])
        return list(calls)


def main():
    with mock_aws():
        route53 = boto3.client("route53", region_name="us-east-1")
        server = ThreadingHTTPServer((sys.argv[1] if sys.argv[1:] else "127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(json.dumps({"url": f"http://127.0.0.1:{server.server_port}"}), flush=True)
        for line in sys.stdin:
            print(json.dumps(obey(route53, json.loads(line)), default=str), flush=True)


if __name__ == "__main__":
    main()
