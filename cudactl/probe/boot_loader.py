"""Which kernel the boot loader takes next, and when each kernel's initramfs was written.

GRUB's menu is read as update-grub wrote it, not /etc/default/grub, which may not be applied yet;
systemd-boot's entries as the Boot Loader Specification has them.
"""

from __future__ import annotations

import os

from . import TYPE_CHECKING
from .files import Root

if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

GRUB = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg")
LOADERS = ("/boot/loader", "/efi/loader", "/boot/efi/loader")
EFI_VARIABLE = "/sys/firmware/efi/efivars/%s-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
DEEPEST = 8
"""Submenus in submenus; update-grub makes one level."""
INITRAMFS = ("initrd.img-", "initramfs-")
NOT_USED = (".bak", ".old", ".new", ".old-dkms", ".dpkg-bak", ".dpkg-new", ".tmp")


def release_key(release: str) -> List[int]:
    """Return the numbers of a release; kernels are compared number by number."""
    number = ""
    parts: List[int] = []
    for char in release + " ":
        if char in "0123456789":
            number += char
        elif number:
            parts.append(int(number[:18]))
            number = ""
    return parts


def next_boot(root: Root) -> Optional[str]:
    """Return the release that the next boot takes; None where no boot loader can be read."""
    readers = [_grub, _systemd_boot]
    if root.exists(EFI_VARIABLE % "LoaderInfo"):  # systemd-boot started this machine
        readers.reverse()
    for read in readers:
        release = read(root)
        if release:
            return release
    return None


def _grub(root: Root) -> Optional[str]:
    text = next((t for t in map(root.text, GRUB) if t), None)
    if text is None:
        return None
    default, menu = "0", _menu(text)
    for line in text.splitlines():
        words = line.split("=", 1)
        if len(words) == 2 and words[0].strip() == "set default" and "next_entry" not in words[1]:
            default = words[1].strip().strip("\"'")
            break
    once = _environment(root, "next_entry")
    if default == "${saved_entry}":
        default = _environment(root, "saved_entry")
    return _chosen(menu, once or default or "0")


def _environment(root: Root, name: str) -> str:
    """Return a variable of GRUB's environment block."""
    for folder in ("/boot/grub", "/boot/grub2"):
        for line in (root.text(folder + "/grubenv") or "").splitlines():
            if line.startswith(name + "="):
                return line[len(name) + 1 :].strip()
    return ""


def _menu(text: str) -> List[Dict[str, Any]]:
    """Return the menu as a tree: entries with a release, submenus with entries."""
    top: List[Dict[str, Any]] = []
    open_: List[Optional[Dict[str, Any]]] = []  # None is a brace of something else
    for line in text.splitlines():
        line = line.strip()
        first = line.split(None, 1)[0] if line else ""
        if first in ("menuentry", "submenu") and line.endswith("{"):
            entry = {"names": _names(line[:-1]), "release": None, "entries": []}
            parent = next((one for one in reversed(open_) if one is not None), None)
            if len(open_) <= DEEPEST:
                (top if parent is None else parent["entries"]).append(entry)
            open_.append(entry)
        elif first == "}":
            if open_:
                open_.pop()
        elif line.endswith("{"):
            open_.append(None)
        elif first in ("linux", "linux16", "linuxefi") and open_ and open_[-1] is not None:
            words = line.split()
            if len(words) > 1 and open_[-1]["release"] is None:
                open_[-1]["release"] = _release(words[1])
    return top


def _names(line: str) -> List[str]:
    """Return an entry's title and id."""
    words = _words(line)
    marks = ("--id", "$menuentry_id_option", "${menuentry_id_option}")
    ids = [words[at] for at in range(3, len(words)) if words[at - 1] in marks]
    return words[1:2] + ids


def _words(line: str) -> List[str]:
    """Return a line's words as a shell splits them; importing shlex costs more than a menu."""
    words: List[str] = []
    word, quote, inside, escaped = "", "", False, False
    for char in line:
        if escaped:
            word, escaped = word + char, False
        elif char == "\\" and quote != "'":
            escaped = inside = True
        elif quote:
            if char == quote:
                quote = ""
            else:
                word += char
        elif char in "'\"":
            quote, inside = char, True
        elif char.isspace():
            if inside:
                words.append(word)
            word, inside = "", False
        else:
            word, inside = word + char, True
    return [*words, word] if inside else words


def _release(path: str) -> Optional[str]:
    """Return the release in a kernel's file name: "/boot/vmlinuz-6.8.0-31-generic"."""
    _, separator, release = os.path.basename(path).partition("-")
    return release if separator and release else None


def _chosen(menu: List[Dict[str, Any]], wanted: str) -> Optional[str]:
    """Return the release of the entry that GRUB takes for "0", "1>2", a title or an id."""
    entries = menu
    chosen: Optional[Dict[str, Any]] = None
    for part in wanted.split(">")[: DEEPEST + 1]:
        part = part.strip()
        if part.isdigit() and len(part) < 6:
            chosen = entries[int(part)] if int(part) < len(entries) else None
        else:
            chosen = next((one for one in entries if part in one["names"]), None)
        if chosen is None:
            # GRUB falls back on the first entry when the default is not there.
            chosen = menu[0] if menu else None
            break
        entries = chosen["entries"]
    release = chosen["release"] if chosen else None
    return str(release) if release else None


def _systemd_boot(root: Root) -> Optional[str]:
    for base in LOADERS:
        entries = _entries(root, base)
        if not entries:
            continue
        wanted = _efi_text(root, "LoaderEntryOneShot") or _efi_text(root, "LoaderEntryDefault")
        if not wanted:
            for line in (root.text(base + "/loader.conf") or "").splitlines():
                words = line.split()
                if len(words) == 2 and words[0] == "default":
                    wanted = words[1]
        if wanted:
            import fnmatch

            stem = wanted[:-5] if wanted.endswith(".conf") else wanted
            fitting = [e for e in entries if fnmatch.fnmatchcase(e[0], stem)]
            entries = fitting or entries
        return max(entries, key=lambda e: release_key(e[1]))[1]
    return None


def _entries(root: Root, base: str) -> List[Tuple[str, str]]:
    """Return (id, release) of each entry that names a kernel."""
    found = []
    for name in root.list(base + "/entries"):
        if not name.endswith(".conf"):
            continue
        fields: Dict[str, str] = {}
        for line in (root.text("%s/entries/%s" % (base, name)) or "").splitlines():
            words = line.split(None, 1)
            if len(words) == 2:
                fields.setdefault(words[0], words[1].strip())
        # kernel-install writes the release as the version; other tools only in the path.
        release = fields.get("version") or _release(fields.get("linux", ""))
        if release and "linux" in fields:
            found.append((name[:-5], release))
    return found


def _efi_text(root: Root, name: str) -> Optional[str]:
    """Return a boot loader variable's text: four bytes of attributes, then UTF-16."""
    try:
        with open(root.at(EFI_VARIABLE % name), "rb") as stream:
            data = stream.read(4096)
    except OSError:
        return None
    return data[4:].decode("utf-16-le", errors="replace").strip("\0").strip() or None


def initramfs(root: Root) -> Tuple[Dict[str, float], Optional[int]]:
    """Return kernel release → when its initramfs was written, and the largest one's bytes."""
    found: Dict[str, float] = {}
    largest = None
    for name in root.list("/boot"):
        for beginning in INITRAMFS:
            if not name.startswith(beginning) or name.endswith(NOT_USED):
                continue
            release = name[len(beginning) :]
            if release.endswith(".img"):
                release = release[:-4]
            try:
                about = os.stat(root.at("/boot/" + name))
            except OSError:  # a link that leads nowhere
                continue
            found[release] = about.st_mtime
            largest = max(largest or 0, about.st_size)
    return found, largest
