"""The gate: does the certificate kept on this machine still stand? Pure, and quick to import.

A certificate stands for one boot and one driver: after a reboot or a driver change nothing is known
until the machine is certified again.
"""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

MAX_LINE = 200
# cudactl's exit code → Nagios: OK, CRITICAL, UNKNOWN
NAGIOS = {0: 0, 3: 2, 4: 3}


def gate(
    certificate: Optional[Dict[str, Any]],
    boot_id: Optional[str],
    driver: Optional[str],
    now: float,
) -> Tuple[int, str]:
    """Return (exit code, one line of at most 200 characters).

    Args:
        certificate: The kept Certificate document, or None.
        boot_id: This boot's id.
        driver: The loaded driver's version, or None.
        now: Unix time, seconds.
    """
    code, line = _decide(certificate, boot_id, driver, now)
    return code, line[:MAX_LINE]


def _decide(
    certificate: Optional[Dict[str, Any]],
    boot_id: Optional[str],
    driver: Optional[str],
    now: float,
) -> Tuple[int, str]:
    if certificate is None:
        return 4, "cudactl: no certificate is kept here; run: cudactl certify host --store"
    try:
        verdict, level = str(certificate["verdict"]), str(certificate["level"])
        lock = str(certificate["lock_hash"])[:12]
        issued, expires = float(certificate["issued"]), float(certificate["expires"])
        of_boot, of_driver = certificate["boot_id"], certificate["driver"]
    except (KeyError, TypeError, ValueError):
        return 4, "cudactl: the certificate kept here cannot be read; certify again"
    if verdict not in ("PASS", "WARN"):
        failed = [
            str(v.get("check"))
            for v in certificate.get("verdicts") or []
            if isinstance(v, dict) and v.get("status") in ("FAIL", "ERROR")
        ]
        return 3, "cudactl: %s by lock %s: %s" % (verdict, lock, ", ".join(failed[:4]))
    if now > expires:
        return 3, "cudactl: the certificate expired %.0f h ago; certify again" % (
            (now - expires) / 3600.0
        )
    if of_boot != boot_id:
        return 3, "cudactl: rebooted since it was certified; certify again"
    if of_driver != driver:
        return 3, "cudactl: certified with driver %s, loaded is %s; certify again" % (
            of_driver,
            driver,
        )
    age = max(0.0, (now - issued) / 3600.0)
    return 0, "cudactl: %s at level %s, lock %s, %.0f h old" % (verdict, level, lock, age)
