"""One wish, one file, several targets: distribution and architecture."""

from __future__ import annotations

import json
from pathlib import Path

from cudactl.lab.mirror import Mirror
from tests.conftest import Cudactl


def test_one_file_may_hold_the_locks_of_several_targets(
    cudactl: Cudactl, mirror: Mirror, tmp_path: Path
) -> None:
    url = (mirror.root / mirror.url_path.strip("/")).as_uri()
    (tmp_path / "stack.yaml").write_text(
        f'os: ubuntu-24.04\ncuda: "13.0"\ndriver: {{branch: none}}\n'
        f"mirror: {{url: {url}, key: {mirror.key_file}}}\n"
    )
    targets = ["--target", "ubuntu-24.04", "--target", "debian-12"]
    done = cudactl("stack", "lock", *targets, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)["locks"]
    assert {one["lock"]["target"]["os"] for one in made} == {"ubuntu-24.04", "debian-12"}
    assert cudactl("stack", "lock", "--locked", cwd=tmp_path).returncode == 0
    shown = cudactl("stack", "show", "--json", cwd=tmp_path)
    assert len(json.loads(shown.stdout)["locks"]) == 2
    one = cudactl("stack", "show", "stack.lock#debian-12", "--json", cwd=tmp_path)
    assert json.loads(one.stdout)["lock"]["target"]["os"] == "debian-12"
    undecided = cudactl("stack", "why", "cuda-nvcc-13-0", "stack.lock", cwd=tmp_path)
    assert undecided.returncode == 2
    assert "stack.lock#debian-12/x86_64" in undecided.stderr
    decided = cudactl("stack", "why", "cuda-nvcc-13-0", "stack.lock#ubuntu-24.04", cwd=tmp_path)
    assert decided.returncode == 0, decided.stderr
    (tmp_path / "stack.yaml").write_text('os: ubuntu-24.04\ncuda: "13.1"\n')
    assert cudactl("stack", "lock", "--locked", cwd=tmp_path).returncode == 3
