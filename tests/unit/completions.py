#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The completions that are installed, in the shells themselves: what is typed with a tab, and what the shell then runs. Prints TAP.

bash and zsh have a terminal; holdfastctl there is a function that says what it was called with. fish is asked by its own `complete -C`.
"""

import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import time

SOURCE = os.path.abspath(os.environ.get("srcdir", "."))
BUILD = os.getcwd()
PATIENCE = 30  # seconds; a bound for broken code

# What is typed before the tab, and the arguments that come of it. Files: "my file.conf" and "other.json".
TYPED = [
    ("mode al", ["mode", "always"]),
    ("restart ho", ["restart", "home"]),
    ("import my", ["import", "my file.conf"]),
    ("policy set oth", ["policy", "set", "other.json"]),
    ("bypass add sl", ["bypass", "add", "slice"]),
    ("bypass rem", ["bypass", "remove"]),
    ("events --tunnel ho", ["events", "--tunnel", "home"]),
    ("policy test --pol", ["policy", "test", "--policy"]),
    ("status --wa", ["status", "--watch"]),
    ("kill-switch se", ["kill-switch", "set"]),
]

BASH = """
PS1=
source {build}/data/bash/holdfastctl
holdfastctl() {{
	if [[ $1 == --completion ]]; then command holdfastctl "$@"; else printf 'RAN'; printf '|%s' "$@"; printf '|\\n'; fi
}}
"""
ZSH = """
PS1=
unsetopt zle_bracketed_paste prompt_cr prompt_sp
fpath=({build}/data/zsh $fpath)
autoload -Uz compinit && compinit -u -d $PWD/.dump
zstyle ':completion:*' insert-tab false
holdfastctl() {{
	if [[ $1 == --completion ]]; then command holdfastctl "$@"; else printf 'RAN'; printf '|%s' "$@"; printf '|\\n'; fi
}}
"""


def type_into(command, script, folder):
    """The arguments that holdfastctl was run with for each line of TYPED, in the order of these."""
    path = f"{folder}/.script"
    with open(path, "w", encoding="utf-8") as file:
        file.write(script.format(build=BUILD))
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvp(command[0], command)
    said, ran = b"", []

    def read_until(pattern):
        nonlocal said
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, said)):
            if not select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0]:
                return None
            try:
                said += os.read(terminal, 65536)
            except OSError:  # the shell ended
                return None
        said = said[found.end():]
        return found

    os.write(terminal, b". ./.script; echo REA''DY\n")
    if read_until(rb"READY\r?\n"):
        for typed, _ in TYPED:
            os.write(terminal, f"holdfastctl {typed}\t\n".encode())
            found = read_until(rb"RAN\|([^\r\n]*)\|\r?\n")
            ran.append(found[1].decode().split("|") if found else None)
            if not found:
                break
    os.close(terminal)
    os.waitpid(pid, 0)
    return ran + [None] * (len(TYPED) - len(ran))


def bash(folder):
    return type_into(["bash", "--norc", "--noprofile", "-i"], BASH, folder)


def zsh(folder):
    return type_into(["zsh", "-f", "-i"], ZSH, folder)


def fish(folder):
    """Where there is one candidate it is what a tab gives."""
    ran = []
    for typed, _ in TYPED:
        line = f"source {BUILD}/data/fish/holdfastctl.fish; complete -C 'holdfastctl {typed}'"
        done = subprocess.run(["fish", "--no-config", "-c", line], text=True, capture_output=True, cwd=folder, timeout=PATIENCE, check=False)
        candidates = [candidate.split("\t")[0] for candidate in done.stdout.splitlines()]
        ran.append([*typed.split()[:-1], *candidates])
    return ran


def report(folder):
    print("1..3")
    for number, shell in enumerate((bash, zsh, fish), 1):
        ran = shell(folder)
        wrong = [(typed, came) for (typed, expected), came in zip(TYPED, ran) if came != expected]
        print(f"{'not ok' if wrong else 'ok'} {number} - completions: {shell.__name__} completes commands, options, tunnels and files")
        for typed, came in wrong:
            print(f"#   {typed}<tab>: {came}")


def main():
    with tempfile.TemporaryDirectory(prefix="holdfast-test-completions-") as folder:
        os.chmod(folder, 0o755)
        for name in ("my file.conf", "other.json"):
            open(f"{folder}/{name}", "w", encoding="utf-8").close()
        server = subprocess.Popen([sys.executable, f"{SOURCE}/tests/unit/fake-api.py", f"{folder}/.api"], stdout=subprocess.PIPE, text=True)
        server.stdout.readline()
        os.environ |= {"PATH": f"{BUILD}:{os.environ['PATH']}", "HOLDFAST_SOCKET": f"{folder}/.api", "TERM": "dumb", "HOME": folder,
                       "INPUTRC": "/dev/null", "LC_ALL": "C.UTF-8"}
        try:
            report(folder)
        finally:
            server.kill()
            server.wait()


main()
