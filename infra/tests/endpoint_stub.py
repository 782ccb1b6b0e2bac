#!/usr/bin/env python3
"""Stands in for the program of infra/endpoint: healthy at once, answers every question with nothing found."""

import http.server
import json
import sys

HOST, PORT = (sys.argv[sys.argv.index(name) + 1] for name in ("--bind", "--port"))


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self._answer(200 if self.path == "/ping" else 404, {})

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = self.path == "/invocations" or (self.path.startswith("/endpoints/") and self.path.endswith("/invocations"))
        self._answer(200 if known else 404, {"predictions": [{} for _ in request["instances"]]})

    def _answer(self, status: int, body: dict) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


http.server.ThreadingHTTPServer((HOST, int(PORT)), Handler).serve_forever()
