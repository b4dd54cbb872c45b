"""Failures as the service, or something in its place, sends them."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import beatra_nb as bn
from beatra_nb.core import errors
from beatra_nb.core.envelope import error_from, error_from_envelope, unexpected

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)

# The table of the API's public facts, row by row.
TABLE: list[tuple[str, int, bool, type[bn.APIError]]] = [
    ("unauthorized", 401, False, bn.AuthenticationError),
    ("invalid_api_key", 401, False, bn.AuthenticationError),
    ("api_key_region_mismatch", 400, False, bn.AuthenticationError),
    ("tenant_disabled", 403, False, bn.PermissionDenied),
    ("forbidden", 403, False, bn.PermissionDenied),
    ("insufficient_balance", 402, False, bn.InsufficientBalance),
    ("billing_failed", 500, True, bn.ServerError),
    ("invalid_request", 422, False, bn.InvalidRequest),
    ("invalid_request", 400, False, bn.InvalidRequest),
    ("unsupported_capability", 400, False, bn.InvalidRequest),
    ("unsupported_model", 400, False, bn.InvalidRequest),
    ("unsupported_option", 422, False, bn.InvalidRequest),
    ("rate_limited", 429, True, bn.RateLimited),
    ("model_unavailable", 503, True, bn.ServerError),
]


def made(status: int, inner: object, **headers: str) -> bn.APIError:
    return error_from(status, headers, json.dumps({"error": inner}).encode())


@pytest.mark.parametrize(("code", "status", "retryable", "kind"), TABLE)
def test_every_code_of_the_table(code: str, status: int, retryable: bool, kind: type[bn.APIError]) -> None:
    error = made(
        status,
        {"code": code, "message": "Why.", "retryable": retryable, "param": "/model", "details": {"a": 1}},
        **{"x-request-id": "req_1"},
    )
    assert type(error) is kind
    assert (error.code, error.status, error.retryable) == (code, status, retryable)
    assert (error.param, error.details, error.request_id) == ("/model", {"a": 1}, "req_1")
    assert error.message == "Why."
    assert error.hint, "a user is told what to do"
    assert json.loads(error.body)["error"]["code"] == code


def test_the_table_is_whole() -> None:
    codes = {code for code, *_ in TABLE}
    assert codes == set(errors.BY_CODE) == set(errors.HINTS)


@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, bn.InvalidRequest),
        (401, bn.AuthenticationError),
        (402, bn.InsufficientBalance),
        (403, bn.PermissionDenied),
        (404, bn.NotFound),
        (409, bn.Conflict),
        (418, bn.APIError),
        (422, bn.InvalidRequest),
        (429, bn.RateLimited),
        (500, bn.ServerError),
        (503, bn.ServerError),
        (599, bn.ServerError),
    ],
)
def test_an_unknown_code_goes_by_its_flag_alone(status: int, kind: type[bn.APIError], flag: bool) -> None:
    error = made(status, {"code": "brand_new", "message": "m", "retryable": flag})
    assert type(error) is kind
    assert error.code == "brand_new"
    assert error.retryable is flag


@pytest.mark.parametrize("flag", [None, "true", 1, "yes", [True], {}])
def test_only_a_true_flag_is_retryable(flag: object) -> None:
    error = made(503, {"code": "brand_new", "retryable": flag})
    assert error.code == "brand_new"
    assert error.retryable is False


def test_a_missing_flag_is_no() -> None:
    assert made(503, {"code": "brand_new"}).retryable is False


@pytest.mark.parametrize(
    "odd",
    [
        {"message": None},
        {"message": 5},
        {"param": ["a"]},
        {"param": 7},
        {"request_id": 12},
        {"request_id": None},
        {"details": None},
        {"details": [1]},
        {"details": "x"},
        {"something": "else"},
    ],
)
def test_odd_fields_never_hide_the_code_and_the_flag(odd: dict[str, Any]) -> None:
    error = made(503, {"code": "rate_limited", "message": "m", "retryable": False} | odd)
    assert (type(error), error.code, error.retryable) == (bn.RateLimited, "rate_limited", False)
    assert isinstance(error.message, str)
    assert error.message
    assert isinstance(error.details, dict)


def test_the_header_s_request_id_wins_and_the_body_s_serves_without_it() -> None:
    inner = {"code": "forbidden", "request_id": "req_body"}
    assert made(403, inner, **{"x-request-id": "req_head"}).request_id == "req_head"
    assert made(403, inner).request_id == "req_body"


HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        HTML,
        b"[]",
        b"null",
        b"7",
        b'"text"',
        b"{",
        b'{"error": "gone"}',
        b'{"error": {"message": "no code"}}',
        b'{"error": {"code": 7}}',
        b'{"error": {"code": null, "message": null}}',
        b'{"detail": "x"}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"9" * 10_000,
    ],
    ids=lambda body: repr(body[:24]),
)
@pytest.mark.parametrize(
    ("status", "retryable"), [(400, False), (500, False), (502, True), (503, True), (504, True)]
)
def test_a_body_that_is_no_envelope(body: bytes, status: int, retryable: bool) -> None:
    error = error_from(status, {"content-type": "text/html; charset=x", "x-request-id": "req_9"}, body)
    assert error.code is None
    assert error.status == status
    assert error.retryable is retryable, "only a gateway's own 502, 503, 504 may be tried again"
    assert error.request_id == "req_9"
    assert str(status) in error.message
    assert len(error.body) <= 600
    assert error.hint
    assert len(str(error)) < 700


def test_a_proxy_s_page_is_quoted_from_its_start() -> None:
    error = error_from(502, {"content-type": "text/html"}, HTML + b"x" * 10_000)
    assert "text/html" in error.message
    assert "502 Bad Gateway" in (error.hint or "")
    assert error.body.startswith("<html>")
    assert isinstance(error, bn.ServerError)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_told_and_not_retried(status: int) -> None:
    error = error_from(status, {"location": "https://elsewhere.example"}, b"")
    assert isinstance(error, bn.UnexpectedResponse)
    assert "redirect" in error.message
    assert error.retryable is False


@given(
    status=st.integers(300, 599), body=st.binary(max_size=200) | JSON.map(lambda v: json.dumps(v).encode())
)
def test_no_body_breaks_the_reader(status: int, body: bytes) -> None:
    error = error_from(status, {}, body)
    assert isinstance(error, bn.APIError)
    assert str(error)
    assert pickle.loads(pickle.dumps(error)).__dict__ == error.__dict__


@given(
    inner=st.dictionaries(
        st.sampled_from(["code", "message", "retryable", "request_id", "param", "details"]), JSON
    )
)
def test_no_envelope_breaks_the_reader(inner: dict[str, Any]) -> None:
    error = error_from_envelope(inner, status=500, request_id=None)
    says = isinstance(inner.get("code"), str) or isinstance(inner.get("retryable"), bool)
    assert (error is not None) == says
    if error is not None:
        assert error.retryable is (inner.get("retryable") is True)


@pytest.mark.parametrize("code", ["", ', "code": 12', ', "code": null'])
@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize("status", [400, 503])
def test_the_flag_decides_also_without_a_code(code: str, flag: bool, status: int) -> None:
    body = f'{{"error": {{"message": "not now", "retryable": {str(flag).lower()}{code}}}}}'
    error = error_from(status, {}, body.encode())
    assert error.retryable is flag
    assert error.message == "not now"
    assert error.code is None
    assert error.hint


def test_an_unexpected_success() -> None:
    error = unexpected(200, {"x-request-id": "r"}, HTML, "not with JSON")
    assert error.message == "The service answered 200, but not with JSON."
    assert (error.request_id, error.retryable, error.status) == ("r", False, 200)
    assert "Bad Gateway" in str(error)
