"""A service on loopback each of whose fields is the text that it was made with. Runs in the kernel of a test."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

KEY = "sk-" + "h" * 32
# A header is one line of plain letters.
HEADER = "<img src=x onerror=window.PWNED=1>"


class HostileService:
    """Answers every question of the API, as politely in form as hostile in content.

    Parameters
    ----------
    text : str
        What stands wherever the API leaves it to the service what to write.
    sound : bytes
        The audio of its clips.
    """

    def __init__(self, text: str, sound: bytes) -> None:
        self.text, self.sound = text, sound
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                service.get(self)

            def do_POST(self) -> None:
                service.post(self)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def get(self, to: BaseHTTPRequestHandler) -> None:
        path = unquote(urlsplit(to.path).path).removeprefix("/v1/")
        if path == "sound.mp3":
            return self._send(to, 200, self.sound, "audio/mpeg")
        if path.startswith(("models", "catalog")):
            names = ["auto", self.text, self.text[:60]]
            return self._json(to, 200, {"object": "list", "data": [self._model(name) for name in names]})
        if path == "tasks":
            tasks = [
                self.task("one", "succeeded"),
                self.task(self.text[:40], "failed"),
                self.task("two", "running"),
            ]
            return self._json(to, 200, {"object": "list", "data": [*tasks, self.task("odd", self.text)]})
        status = {"two": "running"}.get(path.removeprefix("tasks/"), "succeeded")
        return self._json(to, 200, self.task(path.removeprefix("tasks/"), status))

    def post(self, to: BaseHTTPRequestHandler) -> None:
        body = to.rfile.read(int(to.headers["Content-Length"] or 0))
        if "/music" in to.path:
            if b"refuse" in body:
                return self._refuse(to)
            return self._json(to, 202, self.task("made", "queued"))
        asked = json.loads(body)
        if "refuse" in asked["messages"][-1]["content"]:
            return self._refuse(to)
        said = {"id": self.text, "model": self.text}
        usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8, "credits": self.text}
        deltas = [self.text[at : at + 400] for at in range(0, len(self.text), 400)]
        if not asked.get("stream"):
            choice = {
                "index": 0,
                "message": {"role": self.text, "content": self.text},
                "finish_reason": self.text,
            }
            return self._json(to, 200, {**said, "choices": [choice], "usage": usage})
        chunks = [{**said, "choices": [{"index": 0, "delta": {"content": delta}}]} for delta in deltas]
        chunks.append(
            {**said, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage}
        )
        events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        return self._send(to, 200, events.encode(), "text/event-stream")

    def task(self, id: str, status: str) -> dict[str, Any]:
        """A task as the service tells it."""
        text = self.text
        clip = {"url": self.base_url + "/sound.mp3", "artifact_id": text, "title": text, "lyrics": text}
        return {
            "object": "task",
            "task_id": id,
            "status": status,
            "capability": text,
            "model": text,
            "resolved_model": text,
            "metadata": {text: text},
            "input": {"title": text, "prompt": text, "lyrics": text, "model": text},
            "progress": {"percent": 40, "stage": text, "message": text},
            "output": {"clips": [{**clip, "media_type": "audio/mpeg"}, {**clip, "media_type": text}]},
            "warnings": [{"code": text, "message": text, "field": text}],
            "error": {"code": text, "message": text, "retryable": False} if status == "failed" else None,
            "billing": {"charged_credits": "80", "refunded_credits": "80", "currency": text},
            "created_at": text if status == "running" else "2026-01-01T00:00:00Z",
            "links": {text: text},
        }

    def _model(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "owned_by": self.text, "capabilities": ["chat", self.text]}

    def _refuse(self, to: BaseHTTPRequestHandler) -> None:
        error = {"code": self.text, "message": self.text, "retryable": False, "request_id": self.text}
        details = {"errors": [{"path": self.text}], "unsupported_fields": [self.text], self.text: self.text}
        self._json(to, 422, {"error": {**error, "param": "/" + self.text, "details": details}})

    def _json(self, to: BaseHTTPRequestHandler, status: int, body: object) -> None:
        self._send(to, status, json.dumps(body).encode(), "application/json")

    def _send(self, to: BaseHTTPRequestHandler, status: int, body: bytes, kind: str) -> None:
        to.send_response(status)
        to.send_header("Content-Type", kind)
        to.send_header("Content-Length", str(len(body)))
        to.send_header("X-Request-Id", HEADER)
        to.end_headers()
        to.wfile.write(body)
