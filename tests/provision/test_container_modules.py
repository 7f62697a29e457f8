"""What engines are told: their own files, merged by the modules that hosts run."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

LIBRARY = Path(__file__).parents[2] / "playbooks/library"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, LIBRARY / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DOCKER = load("cudactl_docker_runtime")
CONTAINERD = load("cudactl_containerd_runtime")
TOOLKIT = load("cudactl_active_toolkit")


def run(name: str, **arguments: Any) -> dict[str, Any]:
    """Run a module as Ansible does, on this machine."""
    done = subprocess.run(
        [sys.executable, str(LIBRARY / f"{name}.py")],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(done.stdout)
    assert isinstance(found, dict), done.stderr
    return found


# --- Docker ---------------------------------------------------------------

MINE = """\
{
  "log-driver": "journald",
  "runtimes": {"kata": {"path": "/opt/kata/bin/kata-runtime"}},
  "insecure-registries": ["r.example:5000"]
}
"""


def test_docker_keeps_every_key_their_order_and_the_indentation() -> None:
    text = DOCKER.merged(MINE, default=False, cdi=False)
    said = json.loads(text)
    assert list(said) == ["log-driver", "runtimes", "insecure-registries"]
    assert list(said["runtimes"]) == ["kata", "nvidia"]
    assert said["runtimes"]["nvidia"]["path"] == "nvidia-container-runtime"
    assert text.startswith('{\n  "log-driver"')
    assert "default-runtime" not in said


def test_docker_is_asked_for_more_only_when_that_was_asked() -> None:
    said = json.loads(DOCKER.merged('{"default-runtime": "kata"}', default=True, cdi=True))
    assert said["default-runtime"] == "nvidia"
    assert said["features"] == {"cdi": True}
    assert json.loads(DOCKER.merged("", default=False, cdi=False)) == {
        "runtimes": {"nvidia": {"args": [], "path": "nvidia-container-runtime"}}
    }


def test_a_runtime_that_somebody_wrote_is_left_as_it_is() -> None:
    own = {"runtimes": {"nvidia": {"path": "/opt/nvidia/wrapped"}}}
    assert json.loads(DOCKER.merged(json.dumps(own), default=False, cdi=False)) == own


def test_taking_it_out_gives_back_what_was_there() -> None:
    there = DOCKER.merged(MINE, default=True, cdi=False)
    back = json.loads(DOCKER.merged(there, default=False, cdi=False, present=False))
    assert back == json.loads(MINE)
    own = {"runtimes": {"nvidia": {"path": "/opt/nvidia/wrapped"}}}
    assert json.loads(DOCKER.merged(json.dumps(own), False, False, present=False)) == own


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"log-driver": "journald",}', "line 1 column"),
        ('{\n  "a": 1\n  "b": 2\n}', "line 3 column 3"),
        ("[]", "no JSON object"),
        ('{"runtimes": []}', "'runtimes' is no object"),
    ],
)
def test_a_file_that_docker_would_not_read_is_refused_and_left_alone(
    tmp_path: Path, text: str, said: str
) -> None:
    config = tmp_path / "daemon.json"
    config.write_text(text)
    done = run("cudactl_docker_runtime", config=str(config), keep=str(tmp_path / "kept"))
    assert done["failed"]
    assert "CONTAINERS-UNREADABLE" in done["msg"]
    assert said in done["msg"]
    assert config.read_text() == text
    assert [p.name for p in tmp_path.iterdir()] == ["daemon.json"]


def test_a_copy_of_what_was_there_first_is_kept_and_nothing_happens_twice(tmp_path: Path) -> None:
    config, kept = tmp_path / "daemon.json", tmp_path / "kept"
    config.write_text(MINE)
    config.chmod(0o600)
    arguments = {"config": str(config), "keep": str(kept), "apply": "none"}
    assert run("cudactl_docker_runtime", **arguments)["changed"]
    assert (kept / str(config).lstrip("/")).read_text() == MINE
    assert config.stat().st_mode & 0o777 == 0o600
    assert not run("cudactl_docker_runtime", **arguments)["changed"]
    run("cudactl_docker_runtime", **arguments, default=True)
    assert (kept / str(config).lstrip("/")).read_text() == MINE, "the first one stays"


# --- containerd ---------------------------------------------------------------

DROP_IN = "/etc/containerd/conf.d/cudactl-nvidia.toml"


IMPORT = "/etc/containerd/conf.d/cudactl-*.toml"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", f'version = 2\nimports = ["{IMPORT}"]\n'),
        ("version = 2\n[debug]\n", f'version = 2\nimports = ["{IMPORT}"]\n[debug]\n'),
        ('[debug]\n  level = "info"\n', f'imports = ["{IMPORT}"]\n[debug]\n  level = "info"\n'),
        ('imports = ["/a.toml"]\n', f'imports = ["/a.toml", "{IMPORT}"]\n'),
        ('imports = [\n  "/a.toml",\n]\n[x]\n', f'imports = [\n  "/a.toml", "{IMPORT}"]\n[x]\n'),
        ("imports = []\n", f'imports = ["{IMPORT}"]\n'),
        (
            'imports = ["/etc/containerd/conf.d/*.toml"]\n',
            'imports = ["/etc/containerd/conf.d/*.toml"]\n',
        ),
        ('[x]\nimports = ["/a"]\n', f'imports = ["{IMPORT}"]\n[x]\nimports = ["/a"]\n'),
    ],
)
def test_imports_that_are_there_stay(text: str, line: str) -> None:
    assert CONTAINERD.with_import(text, DROP_IN, 2) == line


KUBERNETES = """\
# ours, with a remark
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.example/pause:1"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = true
[plugins."io.containerd.gc.v1.scheduler"]
  mutation_threshold = 77
"""


@pytest.mark.skipif(shutil.which("containerd") is None, reason="no containerd to ask")
def test_containerd_itself_prints_nothing_else_than_before(tmp_path: Path) -> None:
    """containerd issue 5837: below 2.0 a drop-in replaces the section that it adds to."""
    config, drop_in = tmp_path / "config.toml", tmp_path / "conf.d/cudactl-nvidia.toml"
    config.write_text(KUBERNETES)

    def dump() -> dict[tuple[str, str], str]:
        command = ["containerd", "--config", str(config), "config", "dump"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found: dict[tuple[str, str], str] = CONTAINERD.settings(done.stdout)
        return found

    before = dump()
    arguments = {
        "config": str(config),
        "drop_in": str(drop_in),
        "keep": str(tmp_path / "kept"),
        "apply": "none",
    }
    first = run("cudactl_containerd_runtime", **arguments)
    assert first["changed"], first
    after = dump()
    gone = {k: v for k, v in before.items() if after.get(k) != v and k[1] != "imports"}
    assert not gone
    assert any("runtimes.nvidia.options" in table for table, _ in after)
    assert config.read_text().startswith("# ours, with a remark\n")
    assert not run("cudactl_containerd_runtime", **arguments)["changed"]
    drop_in.rename(tmp_path / "aside")
    assert dump() == {**before, ("", "imports"): dump()["", "imports"]}, "it starts without it too"
    (tmp_path / "aside").rename(drop_in)

    run("cudactl_containerd_runtime", **arguments, default=True)
    (name,) = {v for (t, k), v in dump().items() if k == "default_runtime_name" and "cri" in t}
    assert name == '"nvidia"'


@pytest.mark.skipif(shutil.which("containerd") is None, reason="no containerd to ask")
def test_a_configuration_that_containerd_cannot_read_is_left_alone(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("version = 2\n[plugins\n")
    done = run(
        "cudactl_containerd_runtime",
        config=str(config),
        drop_in=str(tmp_path / "x.toml"),
        keep=str(tmp_path / "kept"),
        apply="none",
    )
    assert "CONTAINERS-UNREADABLE" in done["msg"]
    assert [p.name for p in tmp_path.iterdir()] == ["config.toml"]


# --- the active toolkit ---------------------------------------------------------------


def test_the_first_entry_of_the_loaders_cache_counts(tmp_path: Path) -> None:
    library = tmp_path / "targets/x86_64-linux/lib"
    library.mkdir(parents=True)
    (library / "libcudart.so.13").touch()
    listing = """\
2 libs found in cache `/etc/ld.so.cache'
\tlibcudart.so.12 (libc6,x86-64) => /usr/local/cuda-12/lib/libcudart.so.12
\tlibcudart.so.13 (libc6,x86-64) => /opt/other/libcudart.so.13
\tlibcudart.so.13 (libc6,x86-64) => /usr/local/cuda/lib/libcudart.so.13
"""
    assert TOOLKIT.first_runtime(listing, str(tmp_path)) == "/opt/other/libcudart.so.13"
    assert TOOLKIT.first_runtime("", str(tmp_path)) == ""
