"""A web server on this machine that misbehaves on demand."""

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves `files` by path, each as its `behaviour` says.

    A behaviour is a function of the handler, the content and the number of earlier
    requests for the path.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {}
        self.requests = []

    def add(self, path, content, behaviour=None):
        """Serves a file; returns its address."""
        self.files[path] = (content, behaviour or serve)
        return f"http://127.0.0.1:{self.server_port}{path}"

    def ranges(self, path):
        """The `Range` headers of the requests for a path, None where there was none."""
        return [wanted for asked, wanted in self.requests if asked == path]

    def handle_error(self, request, client_address):
        pass  # connections that break off are the point


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.close_connection = True
        earlier = len(self.server.ranges(self.path))
        self.server.requests.append((self.path, self.headers.get("Range")))
        if self.path not in self.server.files:
            self.send_error(404)
            return
        content, behaviour = self.server.files[self.path]
        behaviour(self, content, earlier)

    def start_of_range(self, etag):
        wanted = self.headers.get("Range")
        if wanted is None or self.headers.get("If-Range", etag) != etag:
            return None
        return int(wanted.removeprefix("bytes=").removesuffix("-"))

    def begin(self, status, length, **headers):
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, *args):
        pass


def serve(handler, content, earlier, stop=None, etag='"one"'):
    """Serves as one should; `stop` breaks off after so many bytes of the answer."""
    start = handler.start_of_range(etag)
    if start is None:
        handler.begin(200, len(content), ETag=etag)
        start = 0
    elif start >= len(content):
        handler.begin(416, 0, Content_Range=f"bytes */{len(content)}")
        return
    else:
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        handler.begin(206, len(content) - start, ETag=etag, Content_Range=span)
    handler.wfile.write(content[start:][:stop])


def drops(every, until=10**9):
    """Breaks off after `every` bytes, at the first `until` requests."""
    return lambda handler, content, earlier: serve(
        handler, content, earlier, every if earlier < until else None
    )


def ignores_range(stop=None, until=1):
    """Always sends everything; breaks off at the first `until` requests."""

    def behave(handler, content, earlier):
        handler.begin(200, len(content), ETag='"one"')
        handler.wfile.write(content[: stop if earlier < until else None])

    return behave


def announces(length):
    """Says that the file is `length` bytes long, whatever it is."""

    def behave(handler, content, earlier):
        handler.begin(200, length)
        handler.wfile.write(content)

    return behave


def answers(status, times=10**9, **headers):
    """Answers with a status, and serves after so many times."""

    def behave(handler, content, earlier):
        if earlier < times:
            handler.begin(status, 0, **headers)
        else:
            serve(handler, content, earlier)

    return behave


def web_page(handler, content, earlier):
    page = b"<!DOCTYPE html><html>Sign in to continue</html>"
    handler.begin(200, len(page), Content_Type="text/html; charset=utf-8")
    handler.wfile.write(page)


@contextlib.contextmanager
def running():
    """A server in a thread of its own."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
