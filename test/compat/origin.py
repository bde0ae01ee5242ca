# SPDX-License-Identifier: Apache-2.0
"""What stands behind a proxy: origin.py HTTP-PORT [ECHO-PORT]. Never protected.

HTTP/1.1, kept alive: /bytes/N gives N bytes of noise, /chunked/N the same in chunks, /slow/N one byte at a time,
/status/N that status, /cached counts its own calls and may be kept; anything else says what it was asked. ECHO-PORT
sends back what comes until its end.
"""
import hashlib
import http.server
import socket
import socketserver
import sys
import threading
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    calls = 0

    def do_GET(self):
        word, _, count = self.path.removeprefix("http://").lstrip("/").partition("/")
        count = count.partition("?")[0]
        if word == "bytes":
            self.answer(200, noise(int(count)))
        elif word == "status":
            self.answer(int(count), b"")
        elif word == "cached":
            Handler.calls += 1
            self.answer(200, b"call %d\n" % Handler.calls, cache="max-age=60")
        elif word in ("chunked", "slow"):
            self.pieces(noise(int(count)), 5000 if word == "chunked" else 1)
        else:
            self.echo(b"")

    do_HEAD = do_DELETE = do_GET

    def do_POST(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        self.echo(body)

    do_PUT = do_POST

    def echo(self, body):
        more = self.headers.get("X-Forwarded-For", "no")
        text = f"{self.command} {self.path} {len(body)} {hashlib.sha256(body).hexdigest()} for {more}\n"
        self.answer(200, text.encode())

    def answer(self, status, body, cache="no-store"):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", cache)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def pieces(self, body, size):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        for at in range(0, len(body), size):
            piece = body[at:at + size]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            if size == 1:
                time.sleep(0.01)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):
        pass


class Http(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 128
    disable_nagle_algorithm = True


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)


class EchoServer(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6
    allow_reuse_address = daemon_threads = True
    request_queue_size = 128


def noise(size):
    """What lab.noise("origin", size) gives."""
    return hashlib.shake_128(b"origin").digest(size)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        echo = EchoServer(("::", int(sys.argv[2])), Echo)
        threading.Thread(target=echo.serve_forever, daemon=True).start()
    Http(("::", int(sys.argv[1])), Handler).serve_forever()
