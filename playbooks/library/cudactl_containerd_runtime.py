#!/usr/bin/python3
"""Tell containerd NVIDIA's runtime by a drop-in, and see that nothing else of it changed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cudactl_containerd_runtime
short_description: Add NVIDIA's runtime to containerd by a drop-in
description:
  - Writes a drop-in with the runtime C(nvidia) and has config.toml import it; imports that are
    there stay. containerd itself prints its configuration before and after, and when anything but
    the runtime would be another, nothing is changed.
  - Below 2.0 containerd takes a plugin's section from one file only (containerd issue 5837), so the
    drop-in then carries the whole section for Kubernetes as it was.
options:
  config:
    description: containerd's configuration.
    type: path
    default: /etc/containerd/config.toml
  drop_in:
    description: The drop-in.
    type: path
    required: true
  keep:
    description: Folder for a copy of what the configuration was before the first change.
    type: path
    required: true
  default:
    description: Whether the runtime becomes the default one.
    type: bool
    default: false
  apply:
    description: Whether containerd is restarted.
    type: str
    choices: [none, restart]
    default: restart
author: cudactl
"""
EXAMPLES = r"""
- name: Tell containerd NVIDIA's runtime
  cudactl_containerd_runtime:
    drop_in: /etc/containerd/conf.d/cudactl-nvidia.toml
    keep: /var/lib/cudactl/merged
"""
RETURN = r"""
whole_section:
  description: True where the drop-in had to carry the whole section.
  type: bool
  returned: always
"""

import fnmatch
import os
import re
import shutil

from ansible.module_utils.basic import AnsibleModule

SECTIONS = {2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.runtime"}
HEAD = "# Written by cudactl; changes here are overwritten.\n"
WHOLE = (
    "# containerd below 2.0 takes a plugin's section from one file, the last one: this is all\n"
    "# of it, as config.toml and its imports had it. Change it there, remove this file, and\n"
    "# provision again.\n"
)
IMPORTS = re.compile(r"^imports\s*=\s*\[(.*?)\]", re.MULTILINE | re.DOTALL)
TABLE = re.compile(r"^\s*\[(?!\[)(.+)\]\s*$")
PROGRAM = "/usr/bin/nvidia-container-runtime"


def settings(dump):
    """Return (table, key) → value of what `containerd config dump` prints."""
    table, found = "", {}
    for line in dump.splitlines():
        header = TABLE.match(line)
        if header:
            table = header.group(1).replace("'", '"')
        elif "=" in line:
            key, _, value = line.partition("=")
            found[table, key.strip()] = value.strip().replace("'", '"')
    return found


def version_of(dump):
    """Return the version of the configuration's form."""
    number = re.search(r"^version\s*=\s*(\d+)", dump, re.MULTILINE)
    return int(number.group(1)) if number else 2


def runtime_text(version, default):
    """Return the tables of the runtime."""
    base = 'plugins."%s".containerd' % SECTIONS[min(version, 3)]
    text = '[%s]\n  default_runtime_name = "nvidia"\n' % base if default else ""
    text += '[%s.runtimes.nvidia]\n  runtime_type = "io.containerd.runc.v2"\n' % base
    return text + '[%s.runtimes.nvidia.options]\n  BinaryName = "%s"\n' % (base, PROGRAM)


def whole_text(dump, version, default):
    """Return the whole section for Kubernetes with the runtime in it."""
    base = 'plugins."%s"' % SECTIONS[version]
    lines, inside, kept = dump.splitlines(), False, []
    for line in lines:
        header = TABLE.match(line)
        if header:
            name = header.group(1).replace("'", '"')
            ours = base + ".containerd.runtimes.nvidia"
            inside = (name == base or name.startswith(base + ".")) and not (
                name == ours or name.startswith(ours + ".")
            )
        if inside:
            if default and line.strip().startswith("default_runtime_name"):
                line = '      default_runtime_name = "nvidia"'
            kept.append(line)
    return WHOLE + "\n".join(kept) + "\n" + runtime_text(version, False)


def with_import(text, path, version):
    """Return config.toml's text with an import of `path`; what is there stays.

    It is a pattern: containerd does not start when a file that it names is gone.
    """
    pattern = os.path.join(os.path.dirname(path), "cudactl-*.toml")
    first_table = re.search(r"^\s*\[", text, re.MULTILINE)
    top = text[: first_table.start()] if first_table else text
    there = IMPORTS.search(top)
    if there:
        patterns = re.findall(r"[\"']([^\"']+)[\"']", there.group(1))
        if any(fnmatch.fnmatchcase(path, one) for one in patterns):
            return text
        inner = there.group(1).rstrip().rstrip(",")
        joined = '%s, "%s"' % (inner, pattern) if patterns else '"%s"' % pattern
        return text[: there.start(1)] + joined + text[there.end(1) :]
    line = 'imports = ["%s"]\n' % pattern
    if not text.strip():
        return "version = %d\n%s" % (version, line)
    number = re.search(r"^version\s*=.*\n?", top, re.MULTILINE)
    at = number.end() if number else 0
    return text[:at] + ("" if at == 0 or text[at - 1] == "\n" else "\n") + line + text[at:]


def others_changed(before, after):
    """Return the settings, besides the runtime's own, that are not what they were."""
    mine = re.compile(r"\.runtimes\.nvidia(\.|$)")
    wrong = []
    for place, value in before.items():
        table, key = place
        if (key == "imports" and not table) or mine.search(table) or key == "default_runtime_name":
            continue
        if after.get(place) != value:
            wrong.append("%s.%s is %s and would be %s" % (table, key, value, after.get(place)))
    return wrong


def known(after):
    """Return whether the runtime is there."""
    return any(
        table.endswith(".runtimes.nvidia.options") and key == "BinaryName" and PROGRAM in value
        for (table, key), value in after.items()
    )


class Files:
    """The two files, put back as they were when something is wrong."""

    def __init__(self, module, *paths):
        """Read them."""
        self.module = module
        self.before = {path: self.read(path) for path in paths}

    @staticmethod
    def read(path):
        """Return a file's text, or None."""
        try:
            with open(path, encoding="utf-8") as stream:
                return stream.read()
        except FileNotFoundError:
            return None

    def write(self, path, text):
        """Write a file whole, with the owner and permissions that it had."""
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        aside = path + ".cudactl-new"
        with open(aside, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        self.module.atomic_move(aside, path)

    def put_back(self):
        """Restore both."""
        for path, text in self.before.items():
            if text is not None:
                self.write(path, text)
            elif os.path.exists(path):
                os.unlink(path)


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "config": {"type": "path", "default": "/etc/containerd/config.toml"},
            "drop_in": {"type": "path", "required": True},
            "keep": {"type": "path", "required": True},
            "default": {"type": "bool", "default": False},
            "apply": {"type": "str", "choices": ["none", "restart"], "default": "restart"},
        },
        supports_check_mode=True,
    )
    given = module.params
    config, drop_in, default = given["config"], given["drop_in"], given["default"]
    program = module.get_bin_path("containerd", required=True)

    def dump():
        code, out, err = module.run_command([program, "--config", config, "config", "dump"])
        return out if code == 0 else "", " ".join((err or out).split())[-400:]

    files = Files(module, config, drop_in)
    before, said = dump()
    if not before:
        module.fail_json(
            msg="CONTAINERS-UNREADABLE: containerd cannot read %s: %s; nothing was changed"
            % (config, said)
        )
    version = version_of(before)
    if module.check_mode:
        after_text = with_import(files.before[config] or "", drop_in, version)
        module.exit_json(
            changed=True,
            whole_section=False,
            diff={
                "before_header": config,
                "after_header": config,
                "before": files.before[config] or "",
                "after": after_text,
            },
        )
    copy = given["keep"] + config
    if files.before[config] is not None and not os.path.exists(copy):
        os.makedirs(os.path.dirname(copy), mode=0o755, exist_ok=True)
        shutil.copy2(config, copy)
    head = HEAD + "version = %d\n" % version
    wrong, said, whole = ["it was not tried"], "", False
    for whole in (False, True):
        if whole and version not in SECTIONS:
            break
        text = whole_text(before, version, default) if whole else runtime_text(version, default)
        files.write(drop_in, head + text)
        imported = with_import(files.before[config] or "", drop_in, version)
        if imported != files.before[config]:
            files.write(config, imported)
        after, said = dump()
        wrong = others_changed(settings(before), settings(after)) if after else [said]
        if not wrong and not known(settings(after)):
            wrong = ["the runtime is not in what containerd prints"]
        if not wrong:
            break
    if wrong:
        files.put_back()
        module.fail_json(
            msg="CONTAINERS-REFUSED: containerd would lose other settings by the drop-in: %s; both "
            "files are as they were" % "; ".join(wrong[:5])
        )
    changed = files.before != {path: files.read(path) for path in (config, drop_in)}
    if changed and given["apply"] == "restart":
        code, out, err = module.run_command(["systemctl", "restart", "containerd.service"])
        if code != 0:
            files.put_back()
            module.run_command(["systemctl", "restart", "containerd.service"])
            module.fail_json(
                msg="CONTAINERS-REFUSED: containerd did not start again: %s; the files are as they "
                "were" % (err or out).strip()
            )
    module.exit_json(changed=changed, whole_section=whole)


if __name__ == "__main__":
    main()
