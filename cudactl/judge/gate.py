"""The gate: does the certificate kept on this machine still stand? Pure, and quick to import.

A certificate stands for one machine, one boot and one driver: after a reboot or a driver change, or
on a copy of the machine's disk, nothing is known until the machine is certified again.
"""

from __future__ import annotations

TYPE_CHECKING = False  # see probe/__init__.py
if TYPE_CHECKING:
    from typing import Any, Dict, Optional, Tuple


MAX_LINE = 200
# cudactl's exit code → Nagios: OK, CRITICAL, UNKNOWN
NAGIOS = {0: 0, 3: 2, 4: 3}
# A clock may be set back a little by time synchronisation, seconds.
CLOCK_SLACK_S = 300.0
LEVELS = ("linkage", "execution", "performance", "simulated")
AGAIN = "; certify again"


def gate(
    certificate: Optional[Dict[str, Any]], bits: Dict[str, Any], now: float
) -> Tuple[int, str]:
    """Return (exit code, one printable line of at most 200 characters).

    Args:
        certificate: The kept Certificate document, or None.
        bits: The machine now: "boot_id", "driver" (None when none is loaded), "machine_id".
        now: Unix time, seconds.
    """
    code, line = _decide(certificate, bits, now)
    shown = "".join(c if c.isprintable() else " " for c in "cudactl: " + line)
    return code, shown if len(shown) <= MAX_LINE else shown[: MAX_LINE - 1] + "…"


def _decide(
    certificate: Optional[Dict[str, Any]], bits: Dict[str, Any], now: float
) -> Tuple[int, str]:
    if certificate is None:
        return 4, "no certificate is kept here; run: cudactl certify host --store"
    try:
        verdict, level = str(certificate["verdict"]), str(certificate["level"])
        lock = str(certificate["lock_hash"])[:12]
        issued, expires = float(certificate["issued"]), float(certificate["expires"])
        kept = {key: certificate[key] for key in ("machine_id", "boot_id", "driver")}
    except (KeyError, TypeError, ValueError, AttributeError):
        return 4, "the certificate kept here cannot be read" + AGAIN
    if verdict not in ("PASS", "WARN"):
        return 3, "%s by lock %s: %s" % (verdict, lock, ", ".join(_failed(certificate)[:4]))
    if level not in LEVELS:
        return 3, "%s at level %s: nothing was shown by it%s" % (verdict, level, AGAIN)
    # Written so that a time which is no number does not pass.
    if not now <= expires:
        return 3, "the certificate expired %.0f h ago%s" % ((now - expires) / 3600.0, AGAIN)
    if not issued <= now + CLOCK_SLACK_S:
        return 4, "the certificate is from the future: the clock is wrong, or was"
    if kept["machine_id"] != bits.get("machine_id"):
        return 3, "the certificate kept here is another machine's" + AGAIN
    if kept["boot_id"] is None or kept["boot_id"] != bits.get("boot_id"):
        return 3, "rebooted since it was certified" + AGAIN
    if kept["driver"] != bits.get("driver"):
        was, now_is = kept["driver"] or "none", bits.get("driver") or "none"
        return 3, "certified with driver %s, loaded is %s%s" % (was, now_is, AGAIN)
    age = max(0.0, (now - issued) / 3600.0)
    return 0, "%s at level %s, lock %s, %.0f h old" % (verdict, level, lock, age)


def _failed(certificate: Dict[str, Any]) -> Any:  # noqa: ANN401 - a list of texts
    verdicts = certificate.get("verdicts")
    return [
        str(v.get("check"))
        for v in (verdicts if isinstance(verdicts, list) else [])
        if isinstance(v, dict) and v.get("status") in ("FAIL", "ERROR")
    ]
