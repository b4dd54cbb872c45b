"""Settings: an argument beats the environment, and a key is never echoed."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import beatra_nb as bn
from beatra_nb.core import settings
from beatra_nb.core.settings import BASE_URL, Secret, Settings, Timeouts, clean_key, clean_url, is_loopback

KEY = "sk-" + "q7Wm3Zt9" * 4
LOCAL = "http://127.0.0.1:8000/v1"


def key_of(resolved: Settings) -> str | None:
    return None if resolved.key is None else resolved.key.reveal()


def test_without_anything_the_sandbox_answers_and_says_so() -> None:
    resolved = Settings.resolve()
    assert (resolved.mode, resolved.key, resolved.base_url, resolved.told) == ("sandbox", None, None, False)


def test_asked_for_the_sandbox_needs_no_telling() -> None:
    assert Settings.resolve(mode="sandbox").told is True
    assert Settings.resolve(KEY, mode="sandbox").key is None, "a live key never goes to the sandbox"


def test_a_key_means_live() -> None:
    resolved = Settings.resolve(KEY)
    assert (resolved.mode, key_of(resolved), resolved.base_url) == ("live", KEY, BASE_URL)


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEATRA_API_KEY", f" {KEY}\n")
    monkeypatch.setenv("BEATRA_BASE_URL", f" {LOCAL}/ ")
    resolved = Settings.resolve()
    assert (resolved.mode, key_of(resolved), resolved.base_url) == ("live", KEY, LOCAL)
    monkeypatch.setenv("BEATRA_MODE", "sandbox")
    assert Settings.resolve().mode == "sandbox"


def test_an_argument_beats_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEATRA_API_KEY", "sk-other")
    monkeypatch.setenv("BEATRA_BASE_URL", "https://other.example/v1")
    monkeypatch.setenv("BEATRA_MODE", "sandbox")
    resolved = Settings.resolve(KEY, base_url=LOCAL, mode="live")
    assert (resolved.mode, key_of(resolved), resolved.base_url) == ("live", KEY, LOCAL)


def test_an_empty_key_argument_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEATRA_API_KEY", KEY)
    assert Settings.resolve("").mode == "sandbox"


def test_live_without_a_key_says_how_to_mend_it() -> None:
    with pytest.raises(bn.ConfigurationError, match=r"BEATRA_API_KEY.*sandbox"):
        bn.Client(mode="live")


@pytest.mark.parametrize("mode", ["Live", "offline", 5, "live "])
def test_an_unknown_mode(mode: object) -> None:
    with pytest.raises(bn.ConfigurationError, match="mode must be"):
        Settings.resolve(KEY, mode=mode)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "around", ["{}", " {}", "{}\n", "\r\n{}\t", '"{}"', "'{}'", ' "{}"\n', "\u00a0{}\u2003", "\n\n{}\n\n"]
)
def test_what_copying_leaves_around_a_key_is_dropped(around: str) -> None:
    assert key_of(Settings.resolve(around.format(KEY))) == KEY


@pytest.mark.parametrize(
    "inner", [" ", "\n", "\t", "\r\n", "\x00", "\x7f", "é", "\u200b", "😀", "\ud800", "\x1b[31m"]
)
def test_what_no_key_holds_is_refused_and_never_echoed(inner: str) -> None:
    broken = KEY[:20] + inner + KEY[20:]
    with pytest.raises(bn.ConfigurationError) as caught:
        bn.Client(broken)
    said = f"{caught.value} {caught.value!r} {caught.value.args} {caught.value.__dict__}"
    assert not any(KEY[i : i + 6] in said for i in range(3, len(KEY) - 6))
    assert caught.value.hint


@pytest.mark.parametrize("key", [5, b"sk-abc", ["sk-abc"], object()])
def test_a_key_that_is_no_text_is_refused(key: object) -> None:
    with pytest.raises(bn.ConfigurationError, match="not text"):
        bn.Client(key)  # type: ignore[arg-type]


@given(text=st.text(max_size=40))
def test_every_text_is_a_clean_key_or_none_or_refused(text: str) -> None:
    try:
        key = clean_key(text)
    except bn.ConfigurationError as error:
        assert len(text) < 3 or text not in str(error)  # noqa: PT017
        return
    if key is not None:
        assert key.reveal().isascii()
        assert key.reveal().isprintable()
        assert " " not in key.reveal()
        assert f"Bearer {key.reveal()}".encode("ascii")


def test_a_secret_shows_itself_nowhere() -> None:
    secret = Secret(KEY)
    for shown in (str(secret), repr(secret), f"{secret}", f"{secret:>50}", f"{secret!r}", f"{[secret]}"):
        assert "sk-" not in shown
        assert KEY[3:9] not in shown
    assert not hasattr(secret, "__dict__")
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="never pickled"):
            attempt(secret)
    resolved = Settings.resolve(KEY)
    assert KEY[3:9] not in repr(resolved)
    with pytest.raises(TypeError):
        dataclasses.asdict(resolved)
    assert Secret(KEY) == secret != Secret("other")
    assert hash(Secret(KEY)) == hash(secret)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.beatra.ai/v1",
        "https://api.beatra.ai",
        "https://API.example:8443/v1",
        "http://localhost:1/v1",
        "http://127.0.0.1/v1",
        "http://127.8.9.1:80",
        "http://[::1]:8000/v1",
    ],
)
def test_good_addresses(url: str) -> None:
    assert clean_url(f" {url}/ ") == url


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("api.beatra.ai/v1", "full address"),
        ("ftp://api.beatra.ai", "full address"),
        ("https://", "full address"),
        ("https:///v1", "full address"),
        ("https://host:port/v1", "full address"),
        ("https://host:99999/v1", "full address"),
        ("https://[::1/v1", "full address"),
        ("https://ho st/v1", "full address"),
        ("https://host\n.evil/v1", "full address"),
        ("https://host\x00/v1", "full address"),
        ("file:///etc/passwd", "full address"),
        ("javascript:alert(1)", "full address"),
        ("", "full address"),
        (5, "full address"),
        (b"https://x", "full address"),
        ("http://api.beatra.ai/v1", "https"),
        ("http://0.0.0.0/v1", "https"),
        ("http://10.0.0.1/v1", "https"),
        ("http://127.0.0.1.evil.example/v1", "https"),
        ("http://localhost.evil.example/v1", "https"),
        ("https://user:pass@host/v1", "must not hold"),
        ("https://user@host/v1", "must not hold"),
        ("https://@host/v1", "must not hold"),
        ("http://127.0.0.1@evil.example/v1", "must not hold"),
        ("https://host/v1?x=1", "must not hold"),
        ("https://host/v1#x", "must not hold"),
    ],
)
def test_addresses_that_are_refused(url: str, says: str) -> None:
    with pytest.raises(bn.ConfigurationError, match=says):
        clean_url(url)


@pytest.mark.parametrize("place", ["base_url", "mode"])
@pytest.mark.parametrize(
    "shape", ["{}", "htp://{}", "ftp://user:{}@host", "https://{}@host/v1", "https://h/v1?k={}"]
)
def test_a_key_in_the_wrong_place_is_not_echoed(place: str, shape: str) -> None:
    with pytest.raises(bn.ConfigurationError) as caught:
        bn.Client("x" * 20, **{place: shape.format(KEY)})  # type: ignore[arg-type]
    said = f"{caught.value!r} {caught.value}"
    assert not any(KEY[i : i + 6] in said for i in range(3, len(KEY) - 6))


@pytest.mark.parametrize(
    "variable", ["BEATRA_MODE", "BEATRA_BASE_URL", "BEATRA_DISPLAY", "BEATRA_SANDBOX_ENGINE"]
)
def test_a_key_in_the_wrong_variable_is_not_echoed(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, KEY)
    said = []
    for read in (lambda: Settings.resolve("x" * 20), settings.display_choice, settings.sandbox_engine):
        try:
            read()
        except bn.ConfigurationError as error:
            said.append(str(error))
    assert len(said) == 1
    assert KEY[3:9] not in said[0]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "127.0.0.1.x", "x127.0.0.1", "128.0.0.1", "localhost.x", "::2"]
)
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_a_number_of_seconds_is_the_read_timeout() -> None:
    assert Timeouts.of(3) == Timeouts(connect=3, read=3, total=30)
    assert Timeouts.of(60.0).connect == 10
    assert Timeouts.of(None) == Timeouts()
    assert Timeouts.of(Timeouts(1, 2, 3)) == Timeouts(1, 2, 3)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "60", True, [1], 1e308])
def test_times_that_make_no_sense(value: object) -> None:
    with pytest.raises(bn.ConfigurationError, match="timeout"):
        bn.Client(KEY, timeout=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0, -1, 21, 1.5, "4", True])
def test_attempts_that_make_no_sense(value: object) -> None:
    with pytest.raises(bn.ConfigurationError, match="max_attempts"):
        bn.Client(KEY, max_attempts=value)  # type: ignore[arg-type]


def test_a_failed_connect_leaves_the_old_client() -> None:
    first = bn.connect(KEY, base_url=LOCAL)
    with pytest.raises(bn.ConfigurationError):
        bn.connect(KEY, base_url="nowhere")
    from beatra_nb import verbs

    assert verbs.default_client() is first
    first.close()


def test_proxy_settings_that_cannot_work_are_our_own_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for proxy in ("nonsense://user:hunter2secret@proxy", "http://user:hunter2secret@[::1"):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        for kind in (bn.Client, bn.AsyncClient):
            with pytest.raises(bn.ConfigurationError, match="HTTPS_PROXY") as caught:
                kind(KEY)
            assert "hunter2" not in str(caught.value)


def test_ca_settings_that_cannot_work_are_our_own_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    with pytest.raises(bn.ConfigurationError, match="SSL_CERT_FILE"):
        bn.Client(KEY)


def test_homes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BEATRA_HOME", str(tmp_path / "a"))
    monkeypatch.setenv("BEATRA_WEIGHTS", "~/w")
    assert settings.home() == tmp_path / "a"
    assert settings.weights_home() == Path.home() / "w"
    monkeypatch.delenv("BEATRA_WEIGHTS")
    assert settings.weights_home() == tmp_path / "a" / "weights"
    monkeypatch.delenv("BEATRA_HOME")
    assert settings.home().is_relative_to(Path.home())
    assert settings.weights_home().is_relative_to(Path.home())
