"""The ratings of a test in SQLite: a submission is stored whole, once, and on disk before it is acknowledged."""

from __future__ import annotations

import hashlib
import json
import random
import re
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from snn_codec.errors import UserError

FILE = "results.sqlite"
LONGEST = 24 * 3600 * 1000  # ms on one page
ANSWERS = {
    "playback": ("headphones", "loudspeakers"),
    "experience": ("none", "music", "listening tests"),
}

_TABLES = """
CREATE TABLE IF NOT EXISTS sessions (
    session TEXT PRIMARY KEY, plan TEXT NOT NULL, started TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS submissions (
    session TEXT PRIMARY KEY REFERENCES sessions, digest TEXT NOT NULL, playback TEXT NOT NULL,
    experience TEXT NOT NULL, submitted TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS ratings (
    session TEXT NOT NULL REFERENCES submissions, version TEXT NOT NULL, score INTEGER NOT NULL,
    time_ms INTEGER NOT NULL, PRIMARY KEY (session, version)
);
"""


class Refused(Exception):
    """Raised for a submission that is not stored; has the HTTP status and one sentence."""

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status = status


class Store:
    """The results of one test.

    Args:
        test: Folder of the test.
        key: Its key (`keys.read`).

    Raises:
        UserError: The folder cannot be written, or its `results.sqlite` is another kind of file.
    """

    def __init__(self, test: Path, key: dict[str, Any]):
        self.path, self.key = test / FILE, key
        try:
            with self._connected() as connection:
                connection.execute("PRAGMA journal_mode = WAL")  # a property of the file from now on
                connection.executescript(_TABLES)
        except sqlite3.Error as error:
            raise UserError(f"{self.path}: cannot be used ({error})") from error

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """A connection, in a transaction that ends with the block: kept, or undone if the block fails."""
        with closing(sqlite3.connect(self.path, timeout=30, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = FULL")  # what is acknowledged survives also a power cut
            connection.execute("PRAGMA foreign_keys = ON")
            yield connection

    def begin(self) -> dict[str, Any]:
        """Begin a session: its name, the items in random order, and of each the versions in random order."""
        shuffled = random.SystemRandom()
        by_item: dict[str, list[str]] = {item: [] for item in self.key["references"]}
        for version, known in self.key["versions"].items():
            by_item[known["item"]].append(version)
        trials = [
            {"reference": self.key["references"][item], "versions": shuffled.sample(versions, len(versions))}
            for item, versions in by_item.items()
        ]
        shuffled.shuffle(trials)
        session = secrets.token_hex(16)
        with self._connected() as connection:
            connection.execute("INSERT INTO sessions VALUES (?, ?, ?)", (session, json.dumps(trials), _now()))
        return {"session": session, "trials": trials}

    def submit(self, body: Any) -> bool:
        """Store a listener's ratings; False if the same were stored before.

        Args:
            body: `{"session": name, "listener": {"playback": ..., "experience": ...}, "trials": [{"scores":
                {version: 0 to 100, for every version}, "time": ms}, ... in the session's order]}`

        Raises:
            Refused: The body is not one that this session's page sends, or other ratings were stored before.
        """
        session = body.get("session") if isinstance(body, dict) else None
        if not isinstance(session, str) or not re.fullmatch("[0-9a-f]{32}", session):
            raise Refused(400, "no session is named")
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        with self._connected() as connection:
            found = connection.execute("SELECT plan FROM sessions WHERE session = ?", (session,)).fetchone()
            if found is None:
                raise Refused(403, "this session was not begun here")
            listener, ratings = _checked(body, json.loads(found[0]))
            connection.execute("BEGIN IMMEDIATE")
            stored = connection.execute(
                "SELECT digest FROM submissions WHERE session = ?", (session,)
            ).fetchone()
            if stored:
                connection.execute("ROLLBACK")
                if stored[0] != digest:
                    raise Refused(409, "other ratings of this session are stored already")
                return False
            connection.execute(
                "INSERT INTO submissions VALUES (?, ?, ?, ?, ?)", (session, digest, *listener, _now())
            )
            connection.executemany(
                "INSERT INTO ratings VALUES (?, ?, ?, ?)", [(session, *rating) for rating in ratings]
            )
            connection.execute("COMMIT")
        return True

    def rows(self) -> Iterator[tuple[object, ...]]:
        """All ratings in the columns of `results.COLUMNS`, in the order in which they came."""
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT playback, experience, session, version, score, time_ms FROM ratings "
                "JOIN submissions USING (session) ORDER BY submitted, session, ratings.rowid"
            ).fetchall()
        for playback, experience, session, version, score, time in rows:
            known = self.key["versions"][version]
            yield (
                self.key["test"], playback, experience, session, known["item"], known["condition"], score, time, "",
            )  # fmt: skip


def _checked(
    body: dict[str, Any], plan: list[dict[str, Any]]
) -> tuple[list[str], list[tuple[str, int, int]]]:
    """The listener's answers, and version, score and time of every rating; refuses all else."""
    if body.keys() != {"session", "listener", "trials"}:
        raise Refused(400, "a submission has session, listener and trials")
    listener, trials = body["listener"], body["trials"]
    if not isinstance(listener, dict) or listener.keys() != ANSWERS.keys():
        raise Refused(400, f"the listener must say {' and '.join(ANSWERS)}")
    for name, known in ANSWERS.items():
        if listener[name] not in known:
            raise Refused(400, f"{name} must be one of {', '.join(known)}")
    if not isinstance(trials, list) or len(trials) != len(plan):
        raise Refused(400, f"there must be {len(plan)} trials")
    ratings = []
    for number, (trial, planned) in enumerate(zip(trials, plan, strict=True), 1):
        if not isinstance(trial, dict) or trial.keys() != {"scores", "time"}:
            raise Refused(400, f"trial {number} must have scores and time")
        scores, time = trial["scores"], trial["time"]
        if not isinstance(scores, dict) or scores.keys() != set(planned["versions"]):
            raise Refused(400, f"trial {number} must rate each of its versions")
        if not all(_is_whole(score, 100) for score in scores.values()) or not _is_whole(time, LONGEST):
            raise Refused(400, f"trial {number} has a score that is not 0 to 100, or no time")
        ratings += [(version, scores[version], time) for version in planned["versions"]]
    return [listener[name] for name in ANSWERS], ratings


def _is_whole(value: Any, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")
