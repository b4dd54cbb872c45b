"""The real engine, with real weights: one process, one answer at a time, nothing reachable from outside."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from beatra_nb import sandbox
from beatra_nb.sandbox import Sandbox, weights
from beatra_nb.sandbox.engines.model_process import ModelProcess
from tests.sandbox.conftest import HI, chat, client_of, text_of
from tests.sandbox.test_streaming import events, until

pytestmark = pytest.mark.weights


def model_pid() -> int:
    current = ModelProcess._current
    assert current is not None
    until(lambda: current.pid is not None)
    assert current.pid is not None
    return current.pid


def test_auto_is_the_real_model_and_says_so(real: httpx.Client) -> None:
    answer = chat(real)
    assert answer.json()["model"] == "sandbox-smollm2"
    assert answer.headers["x-beatra-sandbox"] == "smollm2"
    assert text_of(answer).strip()
    usage = answer.json()["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens"] > 10
    assert float(usage["credits"]) > 0
    scripted = chat(real, model="sandbox-scripted")
    assert scripted.json()["model"] == "sandbox-scripted"
    assert scripted.headers["x-beatra-sandbox"] == "scripted"
    assert [m["id"] for m in real.get("/models").json()["data"]][:2] == [
        "sandbox-smollm2",
        "sandbox-scripted",
    ]


def test_a_stream_has_the_same_shape_as_the_scripted(real: httpx.Client) -> None:
    chunks = events(real, seed=1, stream_options={"include_usage": True})
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["usage"]["completion_tokens"] > 0
    streamed = "".join((c["choices"][0]["delta"].get("content") or "") for c in chunks[:-1])
    assert streamed == text_of(chat(real, seed=1))
    assert "gguf" not in json.dumps(chunks)


def test_the_same_seed_gives_the_same_text(real: httpx.Client) -> None:
    ask = {"prompt": "Tell me about the sea.", "max_tokens": 24, "temperature": 1.5}
    first, again = (text_of(chat(real, seed=11, **ask)) for _ in range(2))
    assert first == again
    assert len({text_of(chat(real, seed=seed, **ask)) for seed in range(4)}) > 1


def test_length_stop_and_choices(real: httpx.Client) -> None:
    short = chat(real, "Tell me a story.", max_tokens=5).json()
    assert short["choices"][0]["finish_reason"] == "length"
    assert short["usage"]["completion_tokens"] == 5
    stopped = chat(real, "Name the capital of France.", temperature=0, stop="Paris").json()["choices"][0]
    assert "Paris" not in stopped["message"]["content"]
    several = chat(real, "Tell me a story.", max_tokens=8, n=3, seed=5, temperature=1.5).json()
    assert [choice["index"] for choice in several["choices"]] == [0, 1, 2]
    assert len({choice["message"]["content"] for choice in several["choices"]}) > 1
    assert several["usage"]["completion_tokens"] == 24


def test_an_answer_that_nobody_bounded_has_an_end(real: httpx.Client) -> None:
    endless = {"type": "array", "items": {"type": "integer"}, "minItems": 600}
    asked = {"type": "json_schema", "json_schema": {"name": "x", "schema": endless}}
    answer = chat(real, "Count.", response_format=asked).json()
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 512


def test_answers_fit_their_schema(real: httpx.Client) -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 30},
            "age": {"type": "integer"},
            "mood": {"enum": ["good", "bad"]},
        },
        "required": ["name", "age", "mood"],
        "additionalProperties": False,
    }
    asked = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    for seed in range(2):
        made = json.loads(
            text_of(chat(real, "Ada is 36 and happy.", response_format=asked, seed=seed, max_tokens=120))
        )
        jsonschema.validate(made, schema)
    made = json.loads(text_of(chat(real, "Ada is 36.", response_format={"type": "json_object"}, seed=1)))
    assert isinstance(made, dict)


def test_a_schema_it_cannot_follow(real: httpx.Client) -> None:
    asked = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "#/nowhere"}}}
    for stream in (False, True):
        answer = chat(real, response_format=asked, stream=stream)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (422, "invalid_request")
        assert error["param"] == "/response_format/json_schema/schema"
        assert "nowhere" in error["message"]


def test_a_forced_tool_is_called_with_fitting_arguments(real: httpx.Client) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": schema}}]
    choice = chat(
        real, "How is the weather in Paris?", tools=tools, tool_choice="required", max_tokens=60
    ).json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    jsonschema.validate(json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"]), schema)
    plain = chat(real, "Hello!", tools=tools, max_tokens=8).json()["choices"][0]
    assert "tool_calls" not in plain["message"]


def test_a_conversation_that_is_too_long(real: httpx.Client) -> None:
    answer = chat(real, "word " * 5000)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (422, "invalid_request", "/messages")
    assert "4096" in error["message"]


def test_tool_messages_and_odd_texts_pass(real: httpx.Client) -> None:
    body = {
        "model": "auto",
        "max_tokens": 4,
        "messages": [
            {"role": "user", "content": "\u0000 <|im_end|> 😀 \ud800"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "1", "function": {"name": "x", "arguments": "{}"}}],
            },
            {"role": "tool", "content": "rain", "tool_call_id": "1"},
        ],
    }
    answer = real.post(
        "/chat/completions", content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("stream", [True, False])
def test_work_stops_within_a_token_when_the_client_leaves(real: httpx.Client, stream: bool) -> None:
    text_of(chat(real, "Hello", max_tokens=1))  # loaded
    body = {
        **HI,
        "stream": stream,
        "max_tokens": 1024,
        "temperature": 2,
        "messages": [{"role": "user", "content": "Write a very long story."}],
    }
    model = ModelProcess._current
    assert model is not None
    if stream:
        with real.stream("POST", "/chat/completions", json=body) as answer:
            next(answer.iter_lines())
    else:
        with pytest.raises(httpx.ReadTimeout):
            real.post("/chat/completions", json=body, timeout=0.5)
    until(lambda: not model._jobs, seconds=2)
    began = time.perf_counter()
    text_of(chat(real, "Hello", max_tokens=1))
    assert time.perf_counter() - began < 4  # not behind a thousand tokens of the story


def test_the_servers_loop_never_waits_for_the_model(real: httpx.Client, real_box: Sandbox) -> None:
    with (
        client_of(real_box) as other,
        other.stream("POST", "/chat/completions", json={**HI, "stream": True, "temperature": 2}) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        times = []
        for _ in range(20):
            began = time.perf_counter()
            assert real.get("/health").status_code == 200
            times.append(time.perf_counter() - began)
        assert sorted(times)[10] < 0.1


def test_many_at_once_are_answered_in_turn(real: httpx.Client) -> None:
    done: list[int] = []
    threads = [
        threading.Thread(target=lambda: done.append(chat(real, "Hi", max_tokens=3, stream=True).status_code))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [200] * 6


def test_two_sandboxes_share_one_model(real_box: Sandbox) -> None:
    pid = model_pid()
    with sandbox.start(engine="smollm2") as second, client_of(second) as http:
        assert text_of(chat(http, max_tokens=3))
        assert model_pid() == pid
    with client_of(real_box) as http:  # the first still has it
        assert text_of(chat(http, max_tokens=3))
    assert model_pid() == pid


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs /proc")
def test_nothing_of_the_models_own_server_can_be_reached(real: httpx.Client) -> None:
    text_of(chat(real, max_tokens=1))
    pid = model_pid()
    sockets = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(fd)
        except OSError:
            continue
        if target.startswith("socket:["):
            sockets.add(target[8:-1])
    for table in ("tcp", "tcp6", "udp", "udp6"):
        rows = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        assert not [row for row in rows if row.split()[9] in sockets], table
    names = [
        row.split()[7]
        for row in Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]
        if row.split()[6] in sockets and len(row.split()) > 7
    ]
    assert len(names) == 1  # its listener, under a name that is gone
    assert not Path(names[0]).exists()
    assert not Path(names[0]).parent.exists()
    with socket.socket(socket.AF_UNIX) as probe, pytest.raises(FileNotFoundError):
        probe.connect(names[0])


def test_the_model_comes_back_after_a_crash(real_box: Sandbox) -> None:
    with client_of(real_box) as http:
        text_of(chat(http, max_tokens=1))
        first = model_pid()
        found: list[httpx.Response] = []
        thread = threading.Thread(
            target=lambda: found.append(chat(http, "Write a very long story.", temperature=2))
        )
        thread.start()
        model = ModelProcess._current
        assert model is not None
        until(lambda: bool(model._jobs))
        os.kill(first, signal.SIGKILL)
        thread.join()
        error = found[0].json()["error"]
        assert (found[0].status_code, error["code"], error["retryable"]) == (503, "model_unavailable", True)
        assert text_of(chat(http, max_tokens=3))
        assert model_pid() != first
        assert real_box.engine == "smollm2"


def test_a_model_that_cannot_load_leaves_the_scripted_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own, so that the shared model of these tests stays."""
    code = """
    import os, json, time, httpx
    from pathlib import Path
    from beatra_nb import sandbox
    from beatra_nb.sandbox import weights
    folder = Path(os.environ["BEATRA_WEIGHTS"])
    path = folder / weights.FILE
    with path.open("wb") as file:
        file.truncate(weights.FILE_SIZE)
    weights._write_stamp(path)
    with sandbox.start() as box:
        assert box.engine == "smollm2"
        headers = {"Authorization": "Bearer " + box.api_key}
        body = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}
        with httpx.Client(base_url=box.base_url, headers=headers, trust_env=False, verify=False, timeout=30) as http:
            first = http.post("/chat/completions", json=body)
            second = http.post("/chat/completions", json=body)
        print(first.status_code, first.json().get("error", {}).get("code"), second.json()["model"], box.engine)
    """
    monkeypatch.setenv("BEATRA_WEIGHTS", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    # The first request may come before or after it is known.
    assert done.stdout.split()[2:] == ["sandbox-scripted", "scripted"]
    assert done.stdout.split()[:2] in (["503", "model_unavailable"], ["200", "None"])


END = """
import os, sys, httpx
from beatra_nb import sandbox
from beatra_nb.sandbox.engines.model_process import ModelProcess
box = sandbox.start(engine="smollm2")
http = httpx.Client(headers={"Authorization": "Bearer " + box.api_key}, trust_env=False, verify=False, timeout=60)
messages = [{"role": "user", "content": "Write a long story."}]
body = {"model": "auto", "stream": True, "temperature": 2, "messages": messages}
stream = http.stream("POST", box.base_url + "/chat/completions", json=body)
answer = stream.__enter__()
lines = answer.iter_lines()
next(lines)
print(ModelProcess._current.pid, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
@pytest.mark.parametrize("how", ["", "os.kill(os.getpid(), 9)", "box.stop()"])
def test_the_models_process_never_outlives_ours(how: str) -> None:
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", END + how], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert done.returncode == (-9 if "kill" in how else 0)
    pid = int(done.stdout)

    def gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        status = Path(f"/proc/{pid}/stat")
        return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] == "Z"

    until(gone, seconds=5)
    assert time.perf_counter() - began < 40


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_loads_a_model_of_its_own() -> None:
    code = """
    import os, sys, warnings, httpx
    warnings.simplefilter("ignore", DeprecationWarning)
    from beatra_nb import sandbox
    from beatra_nb.sandbox.engines.model_process import ModelProcess
    def ok(box):
        body = {"model": "auto", "max_tokens": 3, "messages": [{"role": "user", "content": "Hi"}]}
        headers = {"Authorization": "Bearer " + box.api_key}
        with httpx.Client(headers=headers, trust_env=False, verify=False, timeout=60) as http:
            answer = http.post(box.base_url + "/chat/completions", json=body)
        return answer.json()["model"] == "sandbox-smollm2"
    parent = sandbox.shared()
    pid = os.fork()  # while it is still being loaded
    if pid == 0:
        assert ok(sandbox.shared())
        sys.exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert ok(parent)
    pid = os.fork()
    if pid == 0:
        assert ok(sandbox.shared())
        sys.exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert ok(parent)
    print("fine")
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("fine\n", "", 0)


async def test_an_async_client_can_give_up(real_box: Sandbox) -> None:
    async with httpx.AsyncClient(
        base_url=real_box.base_url, trust_env=False, verify=False, timeout=30
    ) as http:
        headers = {"Authorization": f"Bearer {real_box.api_key}"}
        body: dict[str, Any] = {**HI, "temperature": 2, "max_tokens": 1024}
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(http.post("/chat/completions", json=body, headers=headers), 0.01)
    model = ModelProcess._current
    assert model is not None
    until(lambda: not model._jobs, seconds=3)


def test_weights_are_where_the_tests_look() -> None:
    assert weights.installed() is not None
