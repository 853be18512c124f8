"""The server of a listening test: what it acknowledged is there, and what is not its page's is refused."""

import csv
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from snn_codec.cli import main
from snn_codec.errors import UserError
from snn_codec.listening import keys, results
from snn_codec.listening.store import Store

pytest.importorskip("flask", reason="needs Flask and waitress (the extra `listen`)")
pytest.importorskip("waitress", reason="needs Flask and waitress (the extra `listen`)")

from snn_codec.listening.server import application  # noqa: E402

CONDITIONS = ("reference", "anchor35", "anchor70", "degraded", "secret")


@pytest.fixture
def made(tmp_path):
    """The folder of a test of two items, with files that are no sound: the server does not look."""
    folder = tmp_path / "mine"
    (folder / "audio").mkdir(parents=True)
    key = keys.new(
        "mine", {"a": {}, "b": {}}, {(item, condition): {} for item in "ab" for condition in CONDITIONS}
    )
    (folder / "key.json").write_text(json.dumps(key))
    (folder / "index.html").write_text("the page")
    for name in (*key["versions"], *key["references"].values()):
        (folder / "audio" / f"{name}.wav").write_bytes(b"sound")
    return folder


@pytest.fixture
def client(made):
    return application(made).test_client()


def begin(client):
    answer = client.post("/api/session", json={})
    assert answer.status_code == 201
    return answer.get_json()


def submission(session, score=50):
    return {
        "session": session["session"],
        "listener": {"playback": "headphones", "experience": "none"},
        "trials": [
            {"scores": {v: (score + n) % 101 for n, v in enumerate(trial["versions"])}, "time": 1000}
            for trial in session["trials"]
        ],
    }


def rows(made, tmp_path):
    assert main(["listen", "export", str(made), "-o", str(tmp_path / "r.csv"), "--force"]) == 0
    with open(tmp_path / "r.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_ratings_become_a_table_in_webmushras_columns(client, made, tmp_path):
    session = begin(client)
    sent = submission(session, 100)
    assert len(json.dumps(sent)) < client.application.config["MAX_CONTENT_LENGTH"] / 2
    answer = client.post("/api/results", json=sent)
    assert (answer.status_code, answer.get_json()) == (201, {"stored": True})
    table = rows(made, tmp_path)
    assert ",".join(table[0]) == (
        "session_test_id,playback,experience,session_uuid,trial_id,rating_stimulus,rating_score,rating_time,rating_comment"
    )
    key = keys.read(made)
    expected = {
        (key["versions"][v]["item"], key["versions"][v]["condition"], str(score))
        for trial in sent["trials"]
        for v, score in trial["scores"].items()
    }
    assert {(row["trial_id"], row["rating_stimulus"], row["rating_score"]) for row in table} == expected
    assert len(table) == 10 and {row["session_uuid"] for row in table} == {session["session"]}
    assert results.read(tmp_path / "r.csv").scores.shape == (1, 2, 5)


def test_sessions_are_shuffled_and_two_raters_do_not_mix(client, made, tmp_path):
    sessions = [begin(client) for _ in range(20)]
    assert len({json.dumps(session["trials"]) for session in sessions}) > 15
    known = keys.read(made)["versions"]
    firsts = {known[session["trials"][0]["versions"][0]]["condition"] for session in sessions}
    assert len(firsts) > 2  # all the same with probability 1e-7
    for number, session in enumerate(sessions):
        assert client.post("/api/results", json=submission(session, number)).status_code == 201
    table = rows(made, tmp_path)
    for number, session in enumerate(sessions):
        scores = [int(row["rating_score"]) for row in table if row["session_uuid"] == session["session"]]
        assert scores == 2 * [number + n for n in range(5)]


def test_a_second_submission_changes_nothing(client, made, tmp_path):
    session = begin(client)
    assert client.post("/api/results", json=submission(session, 1)).status_code == 201
    assert (
        client.post("/api/results", json=submission(session, 1)).status_code == 200
    )  # as after a lost answer
    assert client.post("/api/results", json=submission(session, 2)).status_code == 409
    assert [int(row["rating_score"]) for row in rows(made, tmp_path)] == 2 * [1, 2, 3, 4, 5]


def forgeries(session):
    """Name and body of submissions that no page of ours sends."""
    whole = submission(session)
    first = next(iter(whole["trials"][0]["scores"]))
    other = next(iter(whole["trials"][1]["scores"]))

    def changed(change):
        body = json.loads(json.dumps(whole))
        change(body)
        return body

    def scores(body):
        return body["trials"][0]["scores"]

    for value in (101, -1, 50.5, "50", None, True, float("nan"), 10**30, [50]):
        yield f"score {value}", changed(lambda body, value=value: scores(body).update({first: value}))
    yield "missing version", changed(lambda body: scores(body).pop(first))
    yield "more versions", changed(lambda body: scores(body).update({"x": 1}))
    yield "other item's", changed(lambda body: scores(body).update({other: scores(body).pop(first)}))
    yield "trial twice", changed(lambda body: body["trials"].append(body["trials"][0]))
    yield "no trials", changed(lambda body: body.update(trials=[]))
    yield "swapped", changed(lambda body: body["trials"].reverse())
    yield "negative time", changed(lambda body: body["trials"][0].update(time=-5))
    yield "more fields", changed(lambda body: body.update(admin=True))
    yield "other answers", changed(lambda body: body["listener"].update(playback="=cmd()"))
    yield "unhashable", changed(lambda body: body["listener"].update(playback=[]))
    yield "no listener", changed(lambda body: body.pop("listener"))
    yield "other session", changed(lambda body: body.update(session="0" * 32))
    yield "half a character", changed(lambda body: body.update(session=16 * "\\ud8001"))
    yield "odd session", changed(lambda body: body.update(session={"$ne": ""}))
    yield from (("list", []), ("null", None), ("number", 3), ("empty", {}))


def test_forged_submissions_are_refused(client, made, tmp_path):
    for name, body in forgeries(begin(client)):
        answer = client.post("/api/results", data=json.dumps(body), content_type="application/json")
        assert answer.status_code in (400, 403), name
        assert answer.get_json()["error"], name
    assert rows(made, tmp_path) == []


@pytest.mark.parametrize(
    ("data", "content_type", "status"),
    [
        (b"x" * 5000, "application/json", 413),
        (b"{", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[" * 4700, "application/json", 400),
        (b"{}", "text/plain", 415),
        (b"session=1", "application/x-www-form-urlencoded", 415),
    ],
)
@pytest.mark.parametrize("path", ["session", "results"])
def test_other_bodies_are_refused(client, data, content_type, status, path):
    answer = client.post(f"/api/{path}", data=data, content_type=content_type)
    assert answer.status_code == status and answer.get_json()["error"]


def test_only_page_and_sounds_are_given_out(client, made):
    key = keys.read(made)
    assert client.get("/").data == b"the page"
    for name in (*key["versions"], *key["references"].values()):
        answer = client.get(f"/audio/{name}.wav")
        assert answer.data == b"sound" and "ETag" not in answer.headers
    paths = ("key.json", "audio/key.json", "results.sqlite", "webmushra.yaml", "audio/", "audio/x.wav", "index.html",
             "audio/..%2fkey.json", "audio/%2e%2e/key.json", "audio/../key.json", "api/results",
             "api/session")  # fmt: skip
    for path in paths:
        assert client.get(f"/{path}").status_code in (404, 405), path
    told = json.dumps(begin(client)) + client.get("/").text
    assert not any(condition in told.replace('"reference":', "") for condition in CONDITIONS)


@contextmanager
def served(made):
    """The server as a process of its own, and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "snn_codec.cli", "listen", "serve", str(made), "--port", "0"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        yield process, re.match(r"(http://127\.0\.0\.1:\d+)/ serves", line)[1]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def post(address, body):
    request = urllib.request.Request(
        address, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as answer:
        return answer.status, json.load(answer)


def test_100_submissions_at_once_with_the_server_killed_in_between(made, tmp_path):
    acknowledged, lock = [], threading.Lock()
    with ThreadPoolExecutor(100) as pool:
        with served(made) as (process, address):
            sessions = [post(f"{address}/api/session", {})[1] for _ in range(100)]
            bodies = [submission(session, number % 96) for number, session in enumerate(sessions)]
            ready = threading.Barrier(100)

            def send(body):
                ready.wait()
                try:
                    assert post(f"{address}/api/results", body)[0] == 201
                except (OSError, http.client.HTTPException):  # an answer that is cut off acknowledges nothing
                    return
                with lock:
                    acknowledged.append(body["session"])
                    if len(acknowledged) == 30:
                        process.send_signal(signal.SIGKILL)

            list(pool.map(send, bodies))
            assert process.wait(60) == -signal.SIGKILL
        before = list(acknowledged)
        stored = {row["session_uuid"] for row in rows(made, tmp_path)}
        assert set(before) <= stored
        with served(made) as (_, address):  # the pages try again
            statuses = list(pool.map(lambda body: post(f"{address}/api/results", body)[0], bodies))
    assert {status for status, body in zip(statuses, bodies, strict=True) if body["session"] in stored} == {
        200
    }
    table = rows(made, tmp_path)
    assert len(table) == 100 * 10
    for body in bodies:
        scores = [int(row["rating_score"]) for row in table if row["session_uuid"] == body["session"]]
        assert scores == [score for trial in body["trials"] for score in trial["scores"].values()]


def test_what_is_no_test_is_said(tmp_path, capsys):
    assert main(["listen", "serve", str(tmp_path)]) == 2
    assert "is not a listening test" in capsys.readouterr().err
    (tmp_path / "key.json").write_text('{"test": 1}')
    assert main(["listen", "serve", str(tmp_path)]) == 2
    assert "key.json: is damaged" in capsys.readouterr().err
    (tmp_path / "results.sqlite").write_text("this is not a data base" * 100)
    with pytest.raises(UserError, match="results.sqlite: cannot be used"):
        Store(tmp_path, {})
