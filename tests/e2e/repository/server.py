"""A private Git repository and a package index behind one port, for a pod of the trainer image.

``server.py PORT FOLDER``: the repository holds FOLDER's train.py, for $GIT_USERNAME with $GIT_PASSWORD.
"""

import base64
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(tempfile.mkdtemp())
WHEEL = "code_words-1.0-py3-none-any.whl"
PAGES = {
    "/simple/": '<a href="code-words/">code-words</a>',
    "/simple/code-words/": f'<a href="/{WHEEL}">{WHEEL}</a>',
}
LOGIN = f"{os.environ['GIT_USERNAME']}:{os.environ['GIT_PASSWORD']}"
ALLOWED = f"Basic {base64.b64encode(LOGIN.encode()).decode()}"


def git(*arguments: str) -> str:
    identity = {f"GIT_{who}_{what}": "e2e" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environ = os.environ | identity
    return subprocess.run(
        ["git", *arguments], cwd=ROOT / "work", env=environ, check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()


def make_repository(script: Path) -> None:
    """Make one whose tag v1 has the script; what its branch has by now would fail."""
    (ROOT / "work" / "src").mkdir(parents=True)
    git("init", "--quiet", "--initial-branch=main")
    shutil.copy(script, ROOT / "work" / "src" / "train.py")
    git("add", ".")
    git("commit", "--quiet", "--message=first")
    git("tag", "v1")
    (ROOT / "work" / "src" / "train.py").write_text("raise SystemExit('not the tag v1')\n")
    git("commit", "--quiet", "--all", "--message=second")
    git("clone", "--quiet", "--bare", ".", str(ROOT / "repo.git"))
    print(f"v1 is {git('rev-parse', 'v1')}", flush=True)


def make_wheel() -> None:
    info = "code_words-1.0.dist-info"
    with zipfile.ZipFile(ROOT / WHEEL, "w") as file:
        file.writestr("code_words.py", "WORD = 'installed for this training alone'\n")
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: code-words\nVersion: 1.0\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/repo.git/"):
            self._git()
        elif path in PAGES:
            self._answer(200, "text/html", PAGES[path].encode())
        elif path == f"/{WHEEL}":
            self._answer(200, "application/octet-stream", (ROOT / WHEEL).read_bytes())
        else:
            self._answer(404, "text/plain", b"not here\n")

    do_POST = do_GET

    def _git(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != ALLOWED:
            self._answer(401, "text/plain", b"who are you?\n", ("WWW-Authenticate", 'Basic realm="e2e"'))
            return
        path, _, query = self.path.partition("?")
        environ = os.environ | {
            "GIT_PROJECT_ROOT": str(ROOT),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        # It may fail and say in its answer why.
        done = subprocess.run(
            ["git", "http-backend"], env=environ, input=body, stdout=subprocess.PIPE, check=False
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(headers.pop("Status", "200 OK").split()[0])
        self._answer(status, headers.pop("Content-Type"), content, *headers.items())

    def _answer(self, status: int, kind: str, content: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("Content-Type", kind), ("Content-Length", str(len(content))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


if __name__ == "__main__":
    make_repository(Path(sys.argv[2]) / "train.py")
    make_wheel()
    ThreadingHTTPServer(("", int(sys.argv[1])), Handler).serve_forever()
