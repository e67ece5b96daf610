"""The page's server: on this machine only, reads a :class:`FrameStore`, and knows nothing of where frames come from.

``/`` the page · ``/frames/<number>.json`` · ``/frames/<number>/<camera>.jpg`` · ``/events`` the status, as server-sent
events, whenever it changes.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sparse4d_ros.errors import UserError
from sparse4d_ros.viewer.store import FrameStore

ADDRESS = "127.0.0.1"
#: Names of this machine in a request. Another one means that a foreign page's name was made to point here.
_HOSTS = (ADDRESS, "localhost")
_FRAME = re.compile(r"/frames/(\d{1,9})(?:\.json|/(\d{1,3})\.jpg)")
#: Events are at least this far apart; without news one comes now and then, which tells that the page is gone.
_EVENT_PERIOD_S, _ALIVE_PERIOD_S = 0.03, 5.0


class ViewServer:
    """Serves a page and the frames of a store; use as a context manager. Port 0 takes any free one."""

    def __init__(self, page: str, store: FrameStore, port: int) -> None:
        self.store, self.page = store, page.encode()
        self._watchers, self._lock = 0, threading.Lock()
        try:
            self._server = ThreadingHTTPServer((ADDRESS, port), type("Handler", (_Handler,), {"view": self}))
        except OverflowError:
            raise UserError(f"there is no port {port}; --port takes 1 to 65535, or 0 for any that is free") from None
        except OSError as error:
            raise UserError(f"port {port} of {ADDRESS} cannot be used ({error.strerror}); choose another with --port"
                            ) from None
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="view_server", daemon=True)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{ADDRESS}:{self._server.server_port}/"

    @property
    def watched(self) -> bool:
        """Whether a page is open somewhere."""
        return self._watchers > 0

    def __enter__(self) -> ViewServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """While a page listens for news."""
        with self._lock:
            self._watchers += 1
        try:
            yield
        finally:
            with self._lock:
                self._watchers -= 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # one connection for many pictures
    view: ViewServer

    def do_GET(self) -> None:  # noqa: N802 (the base class's name)
        path = self.path.partition("?")[0]
        if self.headers.get("Host", "").partition(":")[0] not in _HOSTS:
            self.send_error(HTTPStatus.FORBIDDEN, "this server is for its own machine")
        elif path == "/":
            self._send("text/html; charset=utf-8", self.view.page)
        elif path == "/events":
            self._send_events()
        elif match := _FRAME.fullmatch(path):
            self._send_frame(int(match[1]), match[2])
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _send_frame(self, number: int, camera: str | None) -> None:
        try:
            if camera is None:
                self._send("application/json", self.view.store.document(number))
            else:
                self._send("image/jpeg", self.view.store.picture(number, int(camera)))
        except KeyError:
            self.send_error(HTTPStatus.NOT_FOUND, "this frame is not there")

    def _send(self, kind: str, content: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")  # the next drive has the same addresses
        self.end_headers()
        self.wfile.write(content)

    def _send_events(self) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        known = None
        with self.view.watching():
            while (status := self.view.store.wait_for_news(known, _ALIVE_PERIOD_S)) is not None:
                self.wfile.write(f"data: {json.dumps(status.to_json())}\n\n".encode())
                known = status
                time.sleep(_EVENT_PERIOD_S)

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (BrokenPipeError, ConnectionResetError):  # the page was closed
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """A request is no news."""
