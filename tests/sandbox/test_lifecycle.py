"""Starting, sharing, stopping: no thread, socket or key is left behind."""

from __future__ import annotations

import gc
import io
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from beatra_nb import sandbox
from beatra_nb.core.errors import InvalidInput, SandboxUnavailable
from beatra_nb.core.settings import Secret
from beatra_nb.sandbox import Sandbox
from tests.sandbox.conftest import HI, chat, client_of


def python(code: str, *options: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", *options, "-c", textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout)


def test_start_answers_and_stop_leaves_nothing() -> None:
    before = threading.active_count()
    box = sandbox.start(engine="scripted")
    port = httpx.URL(box.base_url).port or 0
    with client_of(box) as http:
        assert chat(http).status_code == 200
        assert box.running
        began = time.perf_counter()
        box.stop()  # an idle connection of a client is still open
        assert time.perf_counter() - began < 1.5
    assert not box.running
    assert threading.active_count() == before
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    box.stop()
    gc.collect()  # a socket or a loop left open would warn, and warnings are errors


def test_stop_ends_work_in_progress() -> None:
    box = sandbox.start(engine="scripted")
    body = {**HI, "stream": True, "model_options": {"pace": 1}}
    with client_of(box) as http, http.stream("POST", "/chat/completions", json=body) as answer:
        lines = answer.iter_lines()
        next(lines)
        began = time.perf_counter()
        box.stop()
        assert time.perf_counter() - began < 2
        rest = []
        with suppress(httpx.TransportError):
            rest.extend(lines)
    assert "data: [DONE]" not in rest
    assert not box.running


def test_a_context_manager_stops() -> None:
    with sandbox.start(engine="scripted") as box:
        assert box.running
    assert not box.running


def test_a_second_start_is_quick() -> None:
    with sandbox.start(engine="scripted"):
        began = time.perf_counter()
        with sandbox.start(engine="scripted"):
            assert time.perf_counter() - began < 0.1


def test_a_port_and_a_key_of_ones_own() -> None:
    with sandbox.start(engine="scripted", api_key=" sk-mine ") as box:
        port = httpx.URL(box.base_url).port or 0
        assert box.api_key == "sk-mine"
        with client_of(box) as http:
            assert chat(http).status_code == 200
        with pytest.raises(SandboxUnavailable, match=f"port {port}"):
            sandbox.start(engine="scripted", port=port)
    for number in range(2):  # at once again, though old connections still linger
        with sandbox.start(engine="scripted", port=port) as box, client_of(box) as http:
            assert chat(http).status_code == 200, number


@pytest.mark.parametrize("port", [-1, 65536, 10**30, "a", "8765", None, True, 1.0])
def test_ports_that_cannot_be(port: Any) -> None:
    with pytest.raises(InvalidInput, match="from 0 to 65535, not ") as caught:
        sandbox.start(engine="scripted", port=port)
    assert repr(port) in caught.value.message
    assert ".." not in str(caught.value)


def test_an_unknown_engine() -> None:
    with pytest.raises(InvalidInput, match="smollm2"):
        sandbox.start(engine="gpt")


def test_without_weights_auto_is_scripted_and_smollm2_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEATRA_WEIGHTS", str(tmp_path))
    with sandbox.start() as box:
        assert box.engine == "scripted"
    with pytest.raises(SandboxUnavailable, match="beatra-nb fetch"):
        sandbox.start(engine="smollm2")
    monkeypatch.setenv("BEATRA_SANDBOX_ENGINE", "smollm2")
    with pytest.raises(SandboxUnavailable, match="beatra-nb fetch"):
        sandbox.start()


def test_the_shared_one_is_one_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEATRA_SANDBOX_ENGINE", "scripted")
    found: list[Sandbox] = []
    threads = [threading.Thread(target=lambda: found.append(sandbox.shared())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert len(set(map(id, found))) == 1
        found[0].stop()
        again = sandbox.shared()
        assert again is not found[0]
        assert again.running
    finally:
        sandbox.shared().stop()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_starts_its_own() -> None:
    done = python(
        """
        import os, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # of fork with threads: that is the test
        import httpx
        from beatra_nb import sandbox
        parent = sandbox.shared()
        def ok(box):
            key = {"Authorization": "Bearer " + box.api_key}
            return httpx.get(box.base_url + "/models", headers=key, trust_env=False, verify=False).status_code == 200
        assert ok(parent)
        pid = os.fork()
        if pid == 0:
            assert not parent.running
            child = sandbox.shared()
            assert child.base_url != parent.base_url and child.api_key != parent.api_key
            assert ok(child)
            parent.stop()  # not the child's to stop
            sys.exit(0)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert ok(parent) and sandbox.shared() is parent
        print("fine")
        """
    )
    assert (done.stdout, done.stderr, done.returncode) == ("fine\n", "", 0)


def test_python_ends_at_once_with_a_shared_sandbox_at_work() -> None:
    done = python(
        """
        import os, threading, httpx
        os.environ["BEATRA_SANDBOX_ENGINE"] = "scripted"
        from beatra_nb import sandbox
        box = sandbox.shared()
        http = httpx.Client(headers={"Authorization": "Bearer " + box.api_key}, trust_env=False, verify=False)
        body = {"model": "auto", "stream": True, "model_options": {"pace": 0.5},
                "messages": [{"role": "user", "content": "Hello"}]}
        stream = http.stream("POST", box.base_url + "/chat/completions", json=body)
        answer = stream.__enter__()
        lines = answer.iter_lines()
        next(lines)
        """,
        timeout=20,
    )
    assert (done.stderr, done.returncode) == ("", 0)


def test_it_works_from_a_thread_that_runs_a_loop() -> None:
    """As in a notebook, whose main thread runs an event loop of its own."""
    import asyncio

    async def inside() -> int:
        with sandbox.start(engine="scripted") as box:
            async with httpx.AsyncClient(base_url=box.base_url, trust_env=False, verify=False) as http:
                answer = await http.post(
                    "/chat/completions", json=HI, headers={"Authorization": f"Bearer {box.api_key}"}
                )
                return answer.status_code

    assert asyncio.run(inside()) == 200


def test_signal_handlers_are_left_alone() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with sandbox.start(engine="scripted"):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_importing_the_package_is_cheap() -> None:
    done = python(
        """
        import sys
        import beatra_nb.sandbox
        heavy = ("starlette", "uvicorn", "xllamacpp", "httpx", "asyncio", "pydantic")
        print([name for name in heavy if name in sys.modules])
        """
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_a_missing_extra_says_what_to_install(package: str) -> None:
    done = python(
        f"""
        import sys
        sys.modules["{package}"] = None
        from beatra_nb import sandbox
        from beatra_nb.core.errors import SandboxUnavailable
        try:
            sandbox.start()
        except SandboxUnavailable as error:
            print(error)
        """
    )
    assert package in done.stdout
    assert "pip install 'beatra-nb[sandbox]'" in done.stdout


def test_scripted_needs_no_xllamacpp() -> None:
    done = python(
        """
        import sys
        from importlib.abc import MetaPathFinder
        class No(MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] == "xllamacpp":
                    raise ModuleNotFoundError(name=name)
        sys.meta_path.insert(0, No())
        from beatra_nb import sandbox
        with sandbox.start(engine="scripted") as box:
            print(box.engine)
        """
    )
    assert (done.stdout, done.stderr) == ("scripted\n", "")


# --- the key


def test_the_key_is_in_no_picture_and_no_pickle(box: Sandbox) -> None:
    key = box.api_key
    assert key not in repr(box)
    assert key not in str(box)
    assert key not in str(vars(box))
    assert key not in repr(box._server.__dict__)
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(box)


def test_the_key_is_in_no_log(faulty: Sandbox) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with sandbox.start(engine="scripted", faults=True, log=True) as box, client_of(box) as http:
            chat(http)
            chat(http, stream=True)
            http.get("/nowhere")
            http.get("/models", headers={"Authorization": f"Bearer {box.api_key[:-1]}"})
            box.inject("500")
            chat(http)
            key = box.api_key
            shown = repr(box.seen)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    told = stream.getvalue()
    assert "POST /v1/chat/completions 200" in told
    for text in (told, shown):
        assert key not in text
        assert key[:-1] not in text
        assert "Say hi" not in text


def test_a_key_that_no_header_can_carry_is_not_echoed() -> None:
    from beatra_nb.core.errors import ConfigurationError

    with pytest.raises(ConfigurationError) as caught:
        sandbox.start(engine="scripted", api_key="sk-secret\nX")
    assert "sk-secret" not in str(caught.value)
    assert isinstance(Secret("x"), Secret)


@pytest.mark.parametrize(
    ("begin", "wrong"),
    [
        (sandbox.start, {"port": "a"}),
        (sandbox.start, {"engine": "gpt"}),
        (sandbox.serve, {"host": "0.0.0.0"}),
    ],
)
def test_no_frame_of_an_error_holds_the_key(begin: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        begin(**{"engine": "scripted", "api_key": "sk-secret", **wrong})
    told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    ours = [frame for frame in told.stack if "beatra_nb" in Path(frame.filename).parts and frame.locals]
    assert ours
    assert "sk-secret" not in repr([frame.locals for frame in ours])


# --- in the foreground


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_prints_how_to_use_it_and_stops_cleanly(number: signal.Signals) -> None:
    code = "from beatra_nb import sandbox; sandbox.serve(port=0, engine='scripted', faults=False)"
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        told = ""
        while "Ctrl-C" not in told:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            told += line
        url = told.partition("BEATRA_BASE_URL=")[2].split()[0]
        key = told.partition("BEATRA_API_KEY=")[2].split()[0]
        answer = httpx.post(
            url + "/chat/completions", json=HI, headers={"Authorization": f"Bearer {key}"}, trust_env=False
        )
        assert answer.status_code == 200
        assert "curl " in told
        assert '-H "Idempotency-Key: $(uuidgen)"' in told
        assert "OpenAI(" in told
        for way in ("/uploads", "/music/text-to-music", "/music/reference-audio-to-music", "/tasks/TASK_ID"):
            assert f"curl {url}{way}" in told
        process.send_signal(number)
        rest, errors = process.communicate(timeout=10)
    assert (rest, errors, process.returncode) == ("Stopped.\n", "", 0)


def test_serve_is_for_this_machine_alone() -> None:
    with pytest.raises(InvalidInput, match=r"127\.0\.0\.1"):
        sandbox.serve(port=0, engine="scripted", faults=False, host="0.0.0.0")
