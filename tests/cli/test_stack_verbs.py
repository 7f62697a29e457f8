"""The verbs on locks as a user calls them: output, files, exit codes, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pexpect
import pytest

from cudactl.cli.stack_verbs import FORMATS
from cudactl.stack.bundle.repository import Deb, SigningKey, write_deb, write_index
from cudactl.stack.lock.export import FORMS
from cudactl.stack.lock.file import write_lock
from cudactl.stack.lock.locking import lock_stack
from cudactl.stack.spec.file import read_spec
from tests.conftest import BIN, Cudactl

NAME = "nvidia-container-toolkit"
TOOLS = "libnvidia-container-tools"


class Site:
    """A folder with a spec, a lock, and the mirror they are about."""

    def __init__(self, folder: Path, key: SigningKey, cudactl: Cudactl) -> None:
        self.folder, self.key, self._cudactl = folder, key, cudactl
        self.repository = folder / "mirror/ubuntu2404/x86_64"
        self.repository.mkdir(parents=True)
        (folder / "key.asc").write_text(key.public_key)
        self.spec = folder / "stack.yaml"
        self.publish("1.19.0")
        self.wish("1")
        spec = read_spec(self.spec)
        write_lock(lock_stack(spec, folder=folder, cache=folder / "c")[0], folder / "stack.lock")

    def run(
        self, *arguments: str | Path, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return self._cudactl("stack", *arguments, cwd=self.folder, env=self.environment(env))

    def environment(self, more: dict[str, str] | None = None) -> dict[str, str]:
        own = {f"XDG_{name}_HOME": str(self.folder / name) for name in ("CACHE", "DATA")}
        return {**own, **(more or {})}

    def wish(self, version: str, url: str = "") -> None:
        url = url or (self.folder / "mirror").as_uri()
        self.spec.write_text(
            f"os: ubuntu-24.04\ndriver: {{branch: none}}\ncontainer_toolkit: '{version}'\n"
            f"mirror: {{url: '{url}', key: key.asc}}\n"
        )

    def publish(self, *versions: str, padding: int = 0) -> None:
        """Have exactly these versions in the mirror."""
        debs = []
        for version in versions:
            needs = (f"{TOOLS} (= {version}-1)", "libc6")
            debs.append(Deb(name=NAME, version=f"{version}-1", depends=needs))
            content = {"/usr/lib/x": os.urandom(padding)} if padding else {}
            debs.append(Deb(name=TOOLS, version=f"{version}-1", files=content))
        write_index(
            self.repository, [write_deb(deb, self.repository) for deb in debs], key=self.key
        )

    def lock(self) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.folder / "stack.lock").read_text())
        return found


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return SigningKey.create(tmp_path_factory.mktemp("key") / "k", "Mirror <m@example.invalid>")


@pytest.fixture
def site(tmp_path: Path, key: SigningKey, cudactl: Cudactl) -> Site:
    return Site(tmp_path / "site", key, cudactl)


def altered(path: Path) -> None:
    path.write_text(path.read_text().replace("1.19.0-1", "1.18.0-1"))


def older(path: Path) -> None:
    document = json.loads(path.read_text())
    document["lock"]["schema_version"] = 0
    path.write_text(json.dumps(document))


def cut_off(path: Path) -> None:
    path.write_text(path.read_text()[:200])


VERBS: dict[str, tuple[str, ...]] = {
    "diff": ("diff", "stack.lock", "good.lock"),
    "export": ("export", "stack.lock", "--format", "env"),
    "bundle": ("bundle", "stack.lock", "-o", "out"),
    "outdated": ("outdated", "stack.lock"),
    "upgrade": ("upgrade", "stack.yaml", "-o", "stack.lock", "--yes"),
}


@pytest.mark.parametrize("verb", sorted(VERBS))
@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (Path.unlink, "LOCK-MISSING"),
        (altered, "LOCK-ALTERED"),
        (older, "LOCK-OLDER"),
        (cut_off, "LOCK-UNREADABLE"),
    ],
)
def test_a_lock_that_is_not_what_it_was(
    site: Site, verb: str, damage: Callable[[Path], None], code: str
) -> None:
    path = site.folder / "stack.lock"
    (site.folder / "good.lock").write_bytes(path.read_bytes())
    damage(path)
    before = path.read_bytes() if path.exists() else None
    done = site.run(*VERBS[verb], "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["code"] == code
    assert code in done.stderr
    assert "what to do" in done.stderr
    assert (path.read_bytes() if path.exists() else None) == before
    assert not (site.folder / "out").exists()


def test_diff(site: Site) -> None:
    (site.folder / "old.lock").write_bytes((site.folder / "stack.lock").read_bytes())
    same = site.run("diff", "old.lock", "stack.lock", "--exit-code")
    assert (same.returncode, "say the same" in same.stdout) == (0, True)
    site.publish("1.19.0", "1.20.0")
    assert site.run("lock").returncode == 0
    done = site.run("diff", "old.lock", "stack.lock")
    assert done.returncode == 0
    assert "container_toolkit  1.19.0 → 1.20.0" in done.stdout
    assert f"↑ {TOOLS}" in done.stdout
    assert site.run("diff", "old.lock", "stack.lock", "--exit-code").returncode == 3
    back = site.run("diff", "stack.lock", "old.lock", "--explain")
    assert "DIFF-OLDER" in back.stdout
    assert "maintainer" in back.stdout
    document = json.loads(site.run("diff", "old.lock", "stack.lock", "--json").stdout)
    assert document["different"] is True
    assert document["diff"]["components"][0]["packages"][0]["kind"] == "newer"


def test_export_prints_or_writes(site: Site) -> None:
    done = site.run("export", "-f", "apt-preferences")
    assert done.returncode == 0
    assert f"Package: {TOOLS}\nPin: version 1.19.0-1\nPin-Priority: 1001\n" in done.stdout
    file = site.folder / "pins.pref"
    written = site.run("export", "stack.lock", "--format", "apt-preferences", "-o", file)
    assert written.stdout == ""
    assert file.read_text() == done.stdout
    again = site.run("export", "stack.lock", "--format", "apt-preferences", "-o", file)
    assert "says the same already" in again.stderr
    document = json.loads(site.run("export", "-f", "env", "--json").stdout)
    assert document["hash"] == site.lock()["hash"]
    assert "CONTAINER_TOOLKIT_VERSION=1.19.0\n" in document["text"]


def test_export_refuses_what_it_cannot_say(site: Site) -> None:
    unknown = site.run("export", "-f", "spack")
    assert unknown.returncode == 2
    assert "pip-requirements" in unknown.stderr
    none = site.run("export", "-f", "pip-requirements", "-o", "requirements.txt")
    assert none.returncode == 2
    assert "EXPORT-NO-WHEELS" in none.stderr
    assert not (site.folder / "requirements.txt").exists()
    nowhere = site.run("export", "-f", "env", "-o", "no/such/folder/x")
    assert nowhere.returncode == 2
    assert "EXPORT-NOT-WRITTEN" in nowhere.stderr
    assert set(FORMATS) == set(FORMS), "the command offers what can be written"


def test_bundle_and_again(site: Site) -> None:
    done = site.run("bundle", "-o", "out")
    assert done.returncode == 0, done.stderr
    assert "2 files" in done.stdout
    assert "licences" in done.stderr
    assert "out/README.md" in done.stderr
    document = json.loads(site.run("bundle", "-o", "out", "--json").stdout)
    assert document["fetched"] == 0
    assert document["fingerprint"] in done.stdout
    assert document["locks"][0]["hash"] == site.lock()["hash"]
    assert "licences" in document["licence"]
    moved = site.folder / document["locks"][0]["file"]
    diff = json.loads(site.run("diff", "stack.lock", moved, "--json").stdout)["diff"]
    assert [r["code"] for r in diff["risks"]] == ["DIFF-KEY", "DIFF-SOURCE"]
    assert diff["components"] == []
    assert json.loads(site.run("outdated", moved, "--json").stdout)["index_asked"] is True


def test_a_bundle_keeps_what_a_mirror_forgets(site: Site) -> None:
    assert site.run("bundle", "-o", "out").returncode == 0
    old = site.lock()["hash"]
    site.publish("1.20.0")
    assert site.run("upgrade", "--yes").returncode == 0
    again = site.run("bundle", "-o", "out", "--json")
    document = json.loads(again.stdout)
    assert document["files"] == 4
    assert [lock["hash"] for lock in document["locks"]] == [old, site.lock()["hash"]]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--url", "ftp://x/"), "--url begins with"),
        (("--also", "none.lock"), "LOCK-MISSING"),
        (("--signing-key", "none.asc"), "none.asc"),
        (("--signing-key", "key.asc"), "BUNDLE-KEY-WRONG"),
    ],
)
def test_bundle_called_wrongly(site: Site, arguments: tuple[str, ...], code: str) -> None:
    done = site.run("bundle", "-o", "out", *arguments)
    assert done.returncode == 2
    assert code in done.stderr


class Slow(SimpleHTTPRequestHandler):
    """Serves a folder, ranges included; of a package only the beginning until `rest` is set."""

    ranges: list[str]
    rest: threading.Event

    def __init__(
        self, ranges: list[str], rest: threading.Event, *args: object, **options: object
    ) -> None:
        self.ranges, self.rest = ranges, rest
        super().__init__(*args, **options)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if path.suffix != ".deb":
            super().do_GET()
            return
        data, start = path.read_bytes(), 0
        asked = self.headers.get("Range")
        if asked:
            self.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        beginning = start + 2_500_000
        self.wfile.write(data[start:beginning])
        self.rest.wait(60)
        self.wfile.write(data[beginning:])

    def log_message(self, format: str, *args: object) -> None:
        return


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, list[str], threading.Event]]:
    ranges: list[str] = []
    rest = threading.Event()
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Slow, ranges, rest, directory=str(folder))
    )
    server.handle_error = lambda request, client: None  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", ranges, rest
    rest.set()
    server.shutdown()
    server.server_close()


def test_ctrl_c_leaves_a_bundle_that_the_next_run_completes(site: Site) -> None:
    site.publish("1.19.1", padding=5_000_000)
    with serving(site.folder / "mirror") as (url, ranges, rest):
        site.wish("1.19.1", url)
        assert site.run("lock").returncode == 0
        running = subprocess.Popen(
            [str(BIN / "cudactl"), "stack", "bundle", "-o", "out"],
            cwd=site.folder,
            env={**os.environ, **site.environment()},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # As from a terminal: a shell's background job, which tests may be, ignores it for all.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        parts = site.folder / "out/.partial"
        deadline = time.monotonic() + 30
        while not any(p.stat().st_size > 500_000 for p in parts.glob("*")):
            assert time.monotonic() < deadline, "it did not begin to fetch"
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=10)
        assert running.returncode == 130
        assert "Traceback" not in said
        assert not list((site.folder / "out").rglob(f"{TOOLS}*.deb"))
        assert not (site.folder / "out/SHA256SUMS").exists()
        rest.set()
        done = site.run("bundle", "-o", "out", "--json")
        assert done.returncode == 0, done.stderr
        assert ranges, "it went on where it had stopped"
        assert json.loads(done.stdout)["bytes_fetched"] < 4_600_000
    check = ["sha256sum", "--check", "--quiet", "SHA256SUMS"]
    assert subprocess.run(check, cwd=site.folder / "out", check=False).returncode == 0


def test_a_source_that_is_down(site: Site) -> None:
    with serving(site.folder / "mirror") as (url, _, _):
        site.wish("1", url)
        assert site.run("lock").returncode == 0
    done = site.run("bundle", "-o", "out")
    assert done.returncode == 4
    assert "DOWNLOAD-UNREACHABLE" in done.stderr
    stale = site.run("outdated")
    assert stale.returncode == 4
    assert "OUTDATED-INDEX-UNREACHABLE" in stale.stdout
    assert site.run("outdated", "--offline").returncode == 0
    assert site.run("upgrade", "--yes").returncode == 4


def test_outdated(site: Site) -> None:
    fresh = site.run("outdated", "--strict")
    assert fresh.returncode == 0, fresh.stdout
    assert "nothing about it is out of date" in fresh.stdout
    site.publish("1.19.0", "1.20.0")
    assert site.run("outdated").returncode == 0
    soft = site.run("outdated", "--strict", "--explain")
    assert soft.returncode == 5
    assert "the same wish gives 1.20.0 today" in soft.stdout
    site.publish("1.20.0")
    gone = json.loads(site.run("outdated", "--json").stdout)
    codes = [finding["code"] for finding in gone["findings"]]
    assert codes[:2] == ["OUTDATED-PIN-EXPIRED"] * 2
    assert site.run("outdated").returncode == 3


def test_a_version_that_was_replaced(site: Site) -> None:
    site.publish("1.19.0", padding=10)
    done = site.run("outdated")
    assert done.returncode == 3
    assert "OUTDATED-HASH-CHANGED" in done.stdout
    assert TOOLS in done.stdout
    look = site.run("upgrade", "--dry-run")
    assert "ANOTHER HASH" in look.stdout


def test_upgrade_writes_what_was_agreed_to(site: Site) -> None:
    path = site.folder / "stack.lock"
    before = path.read_bytes()
    nothing = site.run("upgrade")
    assert (nothing.returncode, "nothing is new" in nothing.stderr) == (0, True)
    site.publish("1.19.0", "1.20.0")
    look = site.run("upgrade", "--dry-run")
    assert look.returncode == 0
    assert "1.19.0 → 1.20.0" in look.stdout
    nobody = site.run("upgrade")
    assert nobody.returncode == 2
    assert "NOT-CONFIRMED" in nobody.stderr
    assert path.read_bytes() == before
    done = site.run("upgrade", "--yes", "--json")
    document = json.loads(done.stdout)
    assert (document["changed"], document["written"]) == (True, True)
    assert document["diff"]["components"][0]["after"] == "1.20.0"
    assert site.run("diff", "stack.lock", "stack.lock").returncode == 0
    assert b"1.20.0-1" in path.read_bytes()


def test_upgrade_stays_within_the_specs_bounds(site: Site) -> None:
    site.publish("1.19.0", "1.20.0", "2.0.0")
    assert site.run("upgrade", "--yes").returncode == 0
    assert b"2.0.0" not in (site.folder / "stack.lock").read_bytes()
    site.wish("7")
    refused = site.run("upgrade", "--yes")
    assert refused.returncode == 3
    assert "STACK-VERSION-NOT-IN-INDEX" in refused.stderr


@pytest.mark.parametrize(("answer", "code", "written"), [("y", 0, True), ("n", 130, False)])
def test_upgrade_asks_on_a_terminal(site: Site, answer: str, code: int, written: bool) -> None:
    site.publish("1.19.0", "1.20.0")
    environment = {**os.environ, **site.environment()}
    child = pexpect.spawn(
        str(BIN / "cudactl"),
        ["stack", "upgrade"],
        cwd=str(site.folder),
        env=environment,  # type: ignore[arg-type]
        timeout=60,
    )
    child.expect_exact("Write this to stack.lock?")
    child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == code
    assert (b"1.20.0-1" in (site.folder / "stack.lock").read_bytes()) is written


def test_help_costs_nothing() -> None:
    """The group and its verbs are imported without models, requests or YAML."""
    program = (
        "import sys, click; from cudactl.cli.stack import stack; "
        "stack.get_help(click.Context(stack)); "
        "print([m for m in ('pydantic', 'requests', 'yaml', 'debian') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
