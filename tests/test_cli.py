"""The command line, run as users run it: a process, its exit code, and what it prints."""

from __future__ import annotations

import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from beatra_nb import __version__, sandbox
from beatra_nb.store.entry import Entry
from beatra_nb.store.journal import Journal

KEY = "sk-0123456789abcdefghijklmnopqrstuv"


def start(*arguments: str, **more) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "beatra_nb.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        **more,
    )


def run(*arguments: str, **more) -> tuple[int, str, str]:
    process = start(*arguments, **more)
    out, err = process.communicate(timeout=100)
    assert "Traceback" not in err or "--debug" in arguments, err
    return process.returncode, out, err


def write_rows(*changes: dict[str, object]) -> Journal:
    journal = Journal.open()
    for change in changes:
        journal.record(
            Entry(
                **{
                    "time": datetime(2026, 11, 23, 12, tzinfo=UTC),
                    "verb": "chat",
                    "model": "suno-chat",
                    "credits": Decimal("0.390"),
                    "total_tokens": 39,
                    **change,
                }
            )
        )
    return journal


class TestTheCommand:
    def test_version_and_help_answer_without_loading_the_package(self):
        assert run("--version") == (0, f"beatra-nb {__version__}\n", "")
        code, out, _ = run("--help")
        assert code == 0
        for command in ("demo", "sandbox", "fetch", "journal", "doctor"):
            assert command in out
        code = "import sys, beatra_nb.cli; beatra_nb.cli._parser(); print(*sys.modules)"
        loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
        assert not {"httpx", "pydantic", "IPython", "sqlite3", "nbformat", "starlette"} & set(loaded)

    def test_the_installed_script_is_this(self):
        script = Path(sys.executable).with_name("beatra-nb")
        assert subprocess.check_output([script, "--version"], text=True) == f"beatra-nb {__version__}\n"

    def test_no_command_shows_the_help(self):
        code, out, err = run()
        assert (code, err) == (2, "")
        assert out.startswith("usage: beatra-nb")

    @pytest.mark.parametrize(
        "arguments",
        [
            ["sing"],
            ["journal", "--limit", "0"],
            ["journal", "--limit", "many"],
            ["sandbox", "--port", "70000"],
            ["sandbox", "--port", "-1"],
            ["demo", "--engine", "gpt"],
        ],
    )
    def test_what_it_does_not_know_is_refused(self, arguments: list[str]):
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert "usage: beatra-nb" in err

    def test_every_command_has_help(self):
        for command in ("demo", "sandbox", "fetch", "journal", "doctor"):
            code, out, err = run(command, "--help")
            assert (code, err) == (0, "")
            assert out.startswith(f"usage: beatra-nb {command}")


class TestJournal:
    def test_an_empty_one_says_so_and_makes_no_file(self, isolated: Path):
        code, out, err = run("journal")
        assert (code, err) == (0, "")
        assert "empty" in out
        assert not isolated.exists()

    def test_rows_newest_first(self):
        write_rows({"request_id": "req_first"}, {"request_id": "req_second"}, {"request_id": "req_third"})
        code, out, _ = run("journal", "--limit", "2")
        assert code == 0
        assert out.index("req_third") < out.index("req_second")
        assert "req_first" not in out

    def test_a_limit_is_honoured_however_large(self):
        write_rows(*({"request_id": f"req_{number}."} for number in range(150)))
        _, out, _ = run("journal", "--limit", "150")
        assert all(f"req_{number}." in out for number in range(150))

    def test_search_and_json(self):
        write_rows({"request_id": "req_1"}, {"request_id": "req_2", "error_code": "rate_limited"})
        code, out, _ = run("journal", "--search", "rate_", "--json")
        assert code == 0
        [row] = json.loads(out)
        assert (row["request_id"], row["credits"], row["time"]) == (
            "req_2",
            "0.390",
            "2026-11-23T12:00:00+00:00",
        )

    def test_the_bundle_of_a_call(self):
        write_rows({"request_id": "req_1"})
        code, out, _ = run("journal", "--bundle", "req_1", env={**os.environ, "BEATRA_API_KEY": KEY})
        assert code == 0
        assert json.loads(out)["calls"][0]["request_id"] == "req_1"
        assert KEY not in out

    def test_an_unknown_call(self):
        code, out, err = run("journal", "--bundle", "req_none")
        assert (code, out) == (2, "")
        assert err.startswith("beatra-nb: The journal knows no call with the id 'req_none'.\n  → ")

    def test_what_a_server_sent_does_not_steer_the_terminal(self):
        write_rows({"request_id": "req_\x1b[2Jx", "model": "\u202egnol"})
        _, out, _ = run("journal")
        assert "req_" in out
        assert "\x1b" not in out
        assert "\u202e" not in out
        _, out, _ = run("journal", "--json")
        assert "\x1b" not in out

    def test_a_damaged_file_is_a_card_and_with_debug_a_traceback(self, isolated: Path):
        isolated.mkdir()
        (isolated / "journal.sqlite3").write_text("not a database " * 100)
        code, out, err = run("journal")
        assert (code, out) == (1, "")
        assert len(err.splitlines()) == 2
        assert "~/beatra/journal.sqlite3 is damaged" in err
        assert "→ Move the file" in err
        code, _, err = run("--debug", "journal")
        assert code == 1
        assert "Traceback" in err

    def test_a_reader_that_has_had_enough(self):
        write_rows(*({"request_id": f"req_{number}"} for number in range(300)))
        process = start("journal", "--limit", "300", "--json")
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == ""
        process.stderr.close()
        assert process.wait(timeout=30) == 0

    def test_a_terminal_without_the_letters(self):
        write_rows({"request_id": "req_é…"})
        process = start("journal", env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
        out, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (0, "")
        assert "req_" in out


@pytest.fixture(scope="module")
def box() -> Iterator[sandbox.Sandbox]:
    with sandbox.start(engine="scripted", api_key=KEY) as box:
        yield box


class TestDoctor:
    def findings(self, **environment: str) -> tuple[int, dict[str, dict[str, str]]]:
        code, out, err = run("doctor", "--json", env={**os.environ, **environment})
        assert err == ""
        report = json.loads(out)
        assert report["ok"] == (code == 0)
        return code, {check["name"]: check for check in report["checks"]}

    def test_a_sound_installation_without_a_key(self):
        code, out, err = run("doctor")
        assert (code, err) == (0, ""), out
        assert "because no key is set" in out
        assert out.splitlines()[-1] == "Nothing needs mending."
        lines = re.findall(r"^  (?:ok  |note|MEND)  (.+?  +)\S", out, re.MULTILINE)
        assert len(lines) > 10
        assert len({len(label) for label in lines}) == 1  # one column

    def test_it_names_what_is_installed(self):
        _, found = self.findings()
        assert found["beatra_nb"]["found"] == __version__
        for package in (
            "jupyterlab",
            "notebook",
            "ipywidgets",
            "anywidget",
            "ipykernel",
            "ipywidgets in lab",
        ):
            assert found[package]["status"] == "ok"
        assert found["service"]["found"].startswith("sandbox answered in")
        assert found["journal"]["found"].endswith("0 calls")

    def test_it_leaves_no_trace(self, isolated: Path):
        self.findings()
        assert not isolated.exists()
        write_rows({})
        self.findings()
        assert len(Journal.open()) == 1

    def test_a_key_that_works(self, box: sandbox.Sandbox):
        code, found = self.findings(BEATRA_API_KEY=KEY, BEATRA_BASE_URL=box.base_url)
        assert code == 0
        assert (found["mode"]["found"], found["key accepted"]["status"]) == ("live", "ok")

    def test_a_key_that_is_refused(self, box: sandbox.Sandbox):
        code, found = self.findings(BEATRA_API_KEY=KEY + "x", BEATRA_BASE_URL=box.base_url)
        assert code == 1
        assert found["key accepted"]["status"] == "mend"
        assert "Check the key" in found["key accepted"]["mend"]

    def test_a_service_that_is_not_there(self):
        code, found = self.findings(BEATRA_API_KEY=KEY, BEATRA_BASE_URL="http://127.0.0.1:9/v1")
        assert code == 1
        assert found["service"]["status"] == "mend"
        assert "http://127.0.0.1:9/v1" in found["service"]["found"]

    def test_settings_that_cannot_work(self):
        code, found = self.findings(BEATRA_MODE="sideways")
        assert code == 1
        assert "sideways" in found["mode"]["found"]
        assert found["journal"]["status"] == "ok"  # one check that fails does not stop the others

    def test_a_key_in_sandbox_mode_is_told(self):
        code, found = self.findings(BEATRA_API_KEY=KEY, BEATRA_MODE="sandbox")
        assert code == 0
        assert "not used" in found["key"]["found"]

    def test_a_damaged_journal(self, isolated: Path):
        isolated.mkdir()
        (isolated / "journal.sqlite3").write_text("not a database " * 100)
        code, found = self.findings()
        assert code == 1
        assert "damaged" in found["journal"]["found"]

    def test_a_journal_that_cannot_be_made(self, isolated: Path):
        isolated.write_text("a file where the folder should be")
        code, found = self.findings()
        assert code == 1
        assert "cannot write" in found["journal"]["found"]

    def test_a_real_model_that_is_asked_for_and_missing(self, tmp_path: Path):
        code, found = self.findings(BEATRA_SANDBOX_ENGINE="smollm2", BEATRA_WEIGHTS=str(tmp_path))
        assert code == 1
        assert "fetch" in found["sandbox model"]["mend"]
        code, found = self.findings(BEATRA_WEIGHTS=str(tmp_path))
        assert (code, found["sandbox model"]["status"]) == (0, "note")

    def test_it_never_shows_a_key_or_a_password(self, box: sandbox.Sandbox):
        hidden = {
            "BEATRA_API_KEY": KEY,
            "BEATRA_BASE_URL": box.base_url,
            "HTTPS_PROXY": "http://anna:pa55word@proxy.example:3128",
            "ALL_PROXY": "anna:pa55word@proxy.example:1080",
            "NO_PROXY": "127.0.0.1",
        }
        for options in ([], ["--json"]):
            for extra in ({}, {"BEATRA_API_KEY": KEY[:10] + " " + KEY[10:]}, {"BEATRA_MODE": "sandbox"}):
                _, out, err = run("doctor", *options, env={**os.environ, **hidden, **extra})
                text = out + err
                assert "proxy.example:3128" in text
                for secret in ("pa55word", "anna", KEY[3:13], KEY[-6:]):
                    assert secret not in text


def notebook(folder: Path, *cells: object, name: str = "little.ipynb") -> Path:
    made = folder / name
    node = new_notebook(cells=[new_code_cell(cell) if isinstance(cell, str) else cell for cell in cells])
    nbformat.write(node, made)
    return made


def show(html: str, text: str) -> str:
    return f"""
from IPython.display import display
display({{"text/html": {html!r}, "text/plain": {text!r}}}, raw=True)
"""


class TestDemo:
    def demo(self, made: Path, out: Path, *more: str, **environment: str) -> tuple[int, str, str]:
        arguments = ["demo", "--engine", "scripted", "--notebook", str(made), "--out", str(out), *more]
        return run(*arguments, env={**os.environ, **environment})

    def test_it_runs_the_notebook_and_prints_the_answer_and_the_page(self, tmp_path: Path):
        made = notebook(tmp_path, "print('first')", "# bn.chat(\nprint('the ' + 'answer')", "print('last')")
        before = made.read_bytes()
        out = tmp_path / "new" / "folder"
        code, said, _ = self.demo(made, out)
        assert code == 0
        assert said.startswith("the answer\n\n")
        assert "not the live service" in said
        assert f"Page to open: {out / 'little.html'}\n" in said
        assert made.read_bytes() == before
        written = nbformat.read(out / "little.ipynb", as_version=4)
        assert [cell.outputs[0].text for cell in written.cells] == ["first\n", "the answer\n", "last\n"]
        page = (out / "little.html").read_text(encoding="utf-8")
        assert "the answer" in page

    def test_it_uses_this_very_python_and_the_sandbox_alone(self, tmp_path: Path):
        made = notebook(
            tmp_path,
            "import os, sys\n"
            "print(sys.executable, os.environ['BEATRA_MODE'], os.environ['BEATRA_SANDBOX_ENGINE'], "
            "'BEATRA_API_KEY' in os.environ, os.getcwd())",
        )
        _, said, _ = self.demo(made, tmp_path / "out", BEATRA_API_KEY=KEY, BEATRA_MODE="live")
        assert said.splitlines()[0] == f"{sys.executable} sandbox scripted False {tmp_path / 'out'}"
        assert not any(KEY in file.read_text(encoding="utf-8") for file in (tmp_path / "out").iterdir())

    def test_a_chat_answers_for_real(self, tmp_path: Path):
        made = notebook(tmp_path, "import beatra_nb as bn", 'bn.chat("Say hi in five words.")')
        code, said, err = self.demo(made, tmp_path / "out")
        assert code == 0, err
        assert "sandbox" in said.split("\n\nRan in")[0].lower()
        [call] = Journal.open().view()
        assert (call.verb, call.sandbox, call.status) == ("chat", True, "ok")
        assert call.request_id in (tmp_path / "out" / "little.html").read_text(encoding="utf-8")

    def test_a_cell_that_fails_is_told_and_what_ran_is_kept(self, tmp_path: Path):
        made = notebook(tmp_path, "print('so far')", "raise ValueError('no \\x1b[2J good')", "print('never')")
        code, said, err = self.demo(made, tmp_path / "out")
        assert code == 1
        assert "stopped early: ValueError: no" in err
        assert "\x1b" not in err
        page = (tmp_path / "out" / "little.html").read_text(encoding="utf-8")
        assert "so far" in page
        assert "ValueError" in page
        assert str(tmp_path / "out" / "little.html") in said

    def test_an_error_that_is_part_of_the_lesson_is_no_failure(self, tmp_path: Path):
        lesson = new_code_cell("raise ValueError('look')", metadata={"tags": ["raises-exception"]})
        assert self.demo(notebook(tmp_path, lesson, "print('on')"), tmp_path / "out")[0] == 0

    @pytest.mark.parametrize("content", [None, "", "x", "[]", "{}", '{"nbformat": 4, "cells": [{}]}'])
    def test_what_is_no_notebook(self, tmp_path: Path, content: str | None):
        made = tmp_path / "odd.ipynb"
        if content is not None:
            made.write_text(content)
        code, _, err = self.demo(made, tmp_path / "out")
        assert code == 2
        assert "odd.ipynb" in err
        assert not (tmp_path / "out").exists()

    def test_it_does_not_overwrite_what_it_runs(self, tmp_path: Path):
        made = notebook(tmp_path, "print(1)")
        before = made.read_bytes()
        code, _, err = self.demo(made, tmp_path)
        assert code == 2
        assert "--out" in err
        assert made.read_bytes() == before

    def test_a_folder_that_cannot_be_made(self, tmp_path: Path):
        (tmp_path / "file").write_text("")
        code, _, err = self.demo(notebook(tmp_path, "1"), tmp_path / "file" / "out")
        assert code == 2
        assert "cannot be made" in err

    def test_without_the_model_it_says_so_and_goes_on(self, tmp_path: Path):
        made = notebook(tmp_path, "print(1)")
        arguments = ["demo", "--no-fetch", "--notebook", str(made), "--out", str(tmp_path / "out")]
        environment = {**os.environ, "BEATRA_WEIGHTS": str(tmp_path / "none")}
        code, _, err = run(*arguments, env=environment)
        assert code == 0
        assert "Going on with scripted answers, in which no model thinks" in err
        code, _, err = run(*arguments, "--engine", "smollm2", env=environment)
        assert code == 2
        assert "beatra-nb fetch" in err

    @pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
    def test_ctrl_c_is_quiet_and_leaves_no_kernel(self, tmp_path: Path):
        made = notebook(
            tmp_path,
            "import os, time\n"
            "with open('pid.tmp', 'w') as file: file.write(str(os.getpid()))\n"
            "os.rename('pid.tmp', 'pid')\n"
            "time.sleep(90)",
        )
        out = tmp_path / "out"
        process = start("demo", "--engine", "scripted", "--notebook", str(made), "--out", str(out))
        pid = out / "pid"
        deadline = time.monotonic() + 60
        while not pid.exists():
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said, err = process.communicate(timeout=30)
        assert (process.returncode, said) == (130, "")
        assert len(err.splitlines()) == 1  # "Running …", and nothing after it
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.read_text()), 0)

    @pytest.mark.browser
    def test_the_page_needs_nothing_from_outside(self, tmp_path: Path):
        """Opened in Chromium, with a server that counts what the page asks of it."""
        from playwright.sync_api import sync_playwright

        from beatra_nb.display.html import asset

        asked: list[str] = []

        class Count(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Count)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        there = f"http://127.0.0.1:{server.server_port}"
        hostile = (
            f'<div class="bnb"><code class="bnb-id">req_1</code><script>{asset("copy.js")}</script></div>'
            f'<img src="{there}/image"><link rel="stylesheet" href="{there}/style"><script src="{there}/script">'
            f'</script><iframe src="{there}/frame"></iframe><div style="background:url({there}/background)">x</div>'
            f'<audio autoplay src="{there}/audio"></audio><style>@import "{there}/import";</style>'
            f'<script>document.title = "ran"; fetch("{there}/fetch")</script>'
            '<img src="data:," onerror="document.title = \'ran\'">'
        )
        made = notebook(
            tmp_path, new_markdown_cell(f"# Title $x^2$\n![]({there}/markdown)"), show(hostile, "hostile")
        )
        assert self.demo(made, tmp_path / "out")[0] == 0
        page_file = tmp_path / "out" / "little.html"
        page_text = page_file.read_text(encoding="utf-8")
        for host in ("cdnjs", "jsdelivr", "unpkg"):
            assert host not in page_text
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path="/usr/bin/chromium",
                    args=[
                        "--no-sandbox",
                        "--disable-gpu",
                        "--disable-background-networking",
                        "--disable-component-update",
                        "--disable-sync",
                    ],
                )
                page = browser.new_page()
                page.goto(page_file.as_uri(), wait_until="load")
                assert page.locator("button.bnb-copy").count() == 1  # our own script may run
                assert page.title() == "little"  # and no other
                page.goto(f"{there}/alive")  # after all the page could have asked for
                browser.close()
        finally:
            server.shutdown()
            server.server_close()
        assert [path for path in asked if path != "/favicon.ico"] == ["/alive"]


class TestFetch:
    def test_a_folder_without_the_wheel(self, tmp_path: Path):
        (tmp_path / "wheels").mkdir()
        code, out, err = run("fetch", "--wheels", str(tmp_path / "wheels"), "--folder", str(tmp_path / "w"))
        assert (code, out) == (1, "")
        assert "beatra-nb: " in err
        assert "→" in err


class TestSandbox:
    @pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
    def test_it_serves_until_ctrl_c(self):
        import httpx

        process = start("sandbox", "--engine", "scripted")
        url = next(line for line in process.stdout if "BEATRA_BASE_URL=" in line).strip().partition("=")[2]
        key = next(line for line in process.stdout if "BEATRA_API_KEY=" in line).strip().partition("=")[2]
        with httpx.Client(trust_env=False) as http:
            assert http.get(f"{url}/health").json() == {"status": "ok"}
            head = {"Authorization": f"Bearer {key}"}
            assert http.get(f"{url}/models", headers=head).status_code == 200
            assert http.get(f"{url}/models", headers={"Authorization": "Bearer other"}).status_code == 401
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (0, "")

    def test_a_port_that_is_taken(self, box: sandbox.Sandbox):
        port = box.base_url.rpartition(":")[2].partition("/")[0]
        code, _, err = run("sandbox", "--engine", "scripted", "--port", port)
        assert code in (1, 2)
        assert port in err
