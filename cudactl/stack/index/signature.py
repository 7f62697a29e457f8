"""Check a clear-signed text with gpgv (or sqv) against exactly the keys that are expected.

Only the text that the program emitted as verified is returned: what stands around the signed part
of an InRelease file is nobody's word.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cudactl.contracts.errors import CudactlError
from cudactl.stack.index.openpgp import PublicKey

BEGIN = b"-----BEGIN PGP SIGNED MESSAGE-----"

# gpgv's word about a signature comes right before VALIDSIG; only GOODSIG is good.
_WORDS = ("GOODSIG", "BADSIG", "ERRSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG")


@dataclass(frozen=True)
class Checked:
    """What the verification found."""

    outcome: Literal["good", "wrong key", "bad"]
    """Whether an expected key signed exactly this text."""
    text: bytes = b""
    """The signed text, where the outcome is good."""
    key: PublicKey | None = None
    """The key that signed it, where the outcome is good."""
    detail: str = ""
    """What was found instead."""


def check(signed: bytes, keys: Sequence[PublicKey]) -> Checked:
    """Verify a clear-signed text; several may have signed it, and one expected key is enough.

    Raises:
        CudactlError: INDEX-NO-VERIFIER, when neither gpgv nor sqv is installed.
    """
    with tempfile.TemporaryDirectory(prefix="cudactl-") as name:
        folder = Path(name)
        message, keyring, out = (folder / part for part in ("message", "key.gpg", "text"))
        message.write_bytes(signed)
        keyring.write_bytes(b"".join(key.binary for key in keys))
        if gpgv := shutil.which("gpgv"):
            return _gpgv([gpgv, "--homedir", str(folder)], message, keyring, out, keys)
        if sqv := shutil.which("sqv"):
            return _sqv([sqv], message, keyring, out, keys)
    raise CudactlError(
        "INDEX-NO-VERIFIER",
        "neither gpgv nor sqv is installed",
        expected="one of them, to verify the index's signature",
        remedy="Install it: apt-get install gpgv",
    )


def _gpgv(
    gpgv: list[str], message: Path, keyring: Path, out: Path, keys: Sequence[PublicKey]
) -> Checked:
    command = [*gpgv, "--status-fd", "1", "--weak-digest", "SHA1"]
    command += ["--keyring", str(keyring), "--output", str(out), str(message)]
    done = subprocess.run(command, capture_output=True, check=False, env=_environment())
    word, found = "", "no signature"
    bad = ""
    for line in done.stdout.decode(errors="replace").splitlines():
        fields = line.removeprefix("[GNUPG:] ").split()
        if not fields:
            continue
        if fields[0] in _WORDS:
            word, argument = fields[0], fields[1] if len(fields) > 1 else ""
            found = {
                "ERRSIG": f"a signature by key {argument}",
                "BADSIG": "a signature of another text",
                "EXPSIG": "an expired signature",
                "EXPKEYSIG": "a signature by a key that has expired",
                "REVKEYSIG": "a signature by a key that was revoked",
            }.get(word, found)
            bad = bad or (found if word not in ("ERRSIG", "GOODSIG") else "")
        elif fields[0] == "VALIDSIG" and word == "GOODSIG":
            primary = fields[-1] if len(fields) > 10 else fields[1]
            for key in keys:
                if primary == key.fingerprint and out.is_file():
                    return Checked("good", out.read_bytes(), key)
    if bad or word != "ERRSIG":
        return Checked("bad", detail=bad or found)
    return Checked("wrong key", detail=found)


def _sqv(
    sqv: list[str], message: Path, keyring: Path, out: Path, keys: Sequence[PublicKey]
) -> Checked:
    command = [*sqv, "--keyring", str(keyring), "--cleartext", "--output", str(out), str(message)]
    done = subprocess.run(command, capture_output=True, check=False, env=_environment())
    signers = done.stdout.decode(errors="replace").split()
    if done.returncode == 0 and signers and out.is_file():
        # sqv names the primary key; where it cannot be told, any of the keyring's has signed.
        key = next((key for key in keys if key.fingerprint in signers), keys[0])
        return Checked("good", out.read_bytes(), key)
    said = done.stderr.decode(errors="replace").strip()
    if "missing" in said.lower() or "no such" in said.lower():
        names = ", ".join(key.fingerprint[-16:] for key in keys)
        return Checked("wrong key", detail=f"another signer than {names}")
    return Checked("bad", detail=said.splitlines()[-1] if said else "no valid signature")


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"}
