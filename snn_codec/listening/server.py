"""A small server for one listening test, on this machine only; it needs Flask and waitress (the extra `listen`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from snn_codec.errors import UserError
from snn_codec.listening import keys
from snn_codec.listening.store import Refused, Store

if TYPE_CHECKING:
    from flask import Flask

HOST = "127.0.0.1"


def serve(test: Path, port: int) -> None:
    """Serve the test until it is interrupted.

    Raises:
        UserError: The folder is no test, a package is missing, or the port is taken.
    """
    app = application(test)
    import waitress

    try:
        server = waitress.create_server(
            app, host=HOST, port=port, threads=8, connection_limit=1000,
            max_request_body_size=app.config["MAX_CONTENT_LENGTH"],
        )  # fmt: skip
    except (OSError, OverflowError) as error:
        raise UserError(f"port {port}: cannot be used ({error}); choose another with --port") from error
    print(f"http://{HOST}:{server.effective_port}/ serves {test}; Ctrl-C ends it", flush=True)
    server.run()


def application(test: Path) -> Flask:
    """Make the WSGI application of a test.

    GET / and /audio/NAME.wav; POST /api/session begins a session, POST /api/results stores its ratings. Nothing else
    of the folder is served: not the key, not the results.

    Raises:
        UserError: The folder is no test, or a package is missing.
    """
    try:
        import flask
        import waitress  # noqa: F401  better said now than after the start
        from werkzeug.exceptions import HTTPException
    except ImportError as error:
        raise UserError('the server needs Flask and waitress: pip install "snn_codec[listen]"') from error

    key = keys.read(test)
    store = Store(test, key)
    folder = test.resolve()
    sounds = {*key["versions"], *key["references"].values()}
    app = flask.Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = 4096 + 64 * len(key["versions"])  # a submission has half of that

    @app.get("/")
    def page() -> Any:
        return flask.send_file(folder / "index.html", etag=False, max_age=0)

    @app.get("/audio/<name>.wav")
    def audio(name: str) -> Any:
        if name not in sounds:
            flask.abort(404)
        return flask.send_file(folder / "audio" / f"{name}.wav", etag=False, max_age=3600)

    @app.post("/api/session")
    def session() -> Any:
        _json(flask.request)
        return store.begin(), 201

    @app.post("/api/results")
    def results() -> Any:
        return {"stored": True}, 201 if store.submit(_json(flask.request)) else 200

    @app.errorhandler(Refused)
    def refused(error: Refused) -> Any:
        return {"error": str(error)}, error.status

    @app.errorhandler(HTTPException)
    def failed(error: HTTPException) -> Any:
        return {"error": error.description}, error.code

    return app


def _json(request: Any) -> Any:
    """What a request brings; pages of other sites cannot send this type without being asked first."""
    if request.mimetype != "application/json":
        raise Refused(415, "send application/json")
    try:
        return request.get_json(cache=False)
    except RecursionError:
        raise Refused(400, "this is nested too deeply") from None
