#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The man pages against what they describe: neither has an option, command, member or error that the other lacks. Prints TAP.

Read are the programs' own help, the interfaces' XML (which the lab holds against the daemon), and the tables of the source.
"""

import glob
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as tree

SOURCE = os.path.abspath(os.environ.get("srcdir", "."))
NAME = "org.holdfast.Holdfast1"


def read(path):
    with open(f"{SOURCE}/{path}", encoding="utf-8") as file:
        return file.read()


def page(name):
    """The page's text, lines that go on joined."""
    return read(f"docs/man/{name}").replace("\\\n", "")


def run(*command):
    return subprocess.run(command, text=True, capture_output=True, check=False)


def options(text):
    """The long options in TEXT of a page: `Fl -wait` is --wait; after `Fl` more may follow, between bars or commas."""
    found = set()
    for line in text.splitlines():
        for flags in re.findall(r"\bFl ((?:-?-?[\w-]+(?: [|,] )?)+)", line):
            found |= {f"-{flag}" for flag in re.split(r" [|,] ", flags) if flag.startswith("-")}
    return found


def section(text, title):
    return re.search(rf'^\.Sh {title}\n(.*?)(?=^\.Sh |\Z)', text, re.M | re.S)[1]


def differences(documented, there):
    return [f"documented, and not there: {item}" for item in sorted(documented - there)] + [
        f"there, and not documented: {item}" for item in sorted(there - documented)]


def pages_are_clean():
    """every page is what mandoc takes without a warning"""
    pages = glob.glob(f"{SOURCE}/docs/man/*.[158]")
    done = run("mandoc", "-T", "lint", "-W", "warning", *pages)
    return (done.stdout + done.stderr).splitlines() + ([] if len(pages) == 5 else [f"{len(pages)} pages"])


def daemon_options():
    """holdfastd(8) has the options of holdfastd --help"""
    there = set(re.findall(r"--[a-z-]+", run("./holdfastd", "--help").stdout.split("Signals:")[0]))
    return differences(options(section(page("holdfastd.8"), "OPTIONS")), there)


def commands():
    """holdfastctl(1) has the commands of holdfastctl --help, with their options"""
    documented, there = {}, {}
    for line in section(page("holdfastctl.1"), "COMMANDS").splitlines():
        item = re.match(r"\.It Cm ((?:[a-z-]+ ?)+?)(?= [A-Z]|$| Cm| Li)", line)
        if item:
            documented[item[1].strip()] = options(line)
    for line in run("./holdfastctl", "--help").stdout.split("Commands:")[1].split("Options")[0].splitlines():
        item = re.match(r"  ((?:[a-z-]{2,} ?)+?)(?= [A-Z\[]| --|  | [a-z]+\|)", line)
        if item:
            words = item[1].removesuffix("--").strip()
            text = run("./holdfastctl", *words.split(), "--help").stdout
            there[words] = set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", text, re.M))
    return (differences(set(documented), set(there)) + [
        f"{name}: {line}" for name in set(documented) & set(there) for line in differences(documented[name], there[name])]
        + ([] if len(there) > 25 else [f"only {len(there)} commands were found"]))


def global_options():
    """holdfastctl(1) has the options of all commands"""
    there = set(re.findall(r"--[a-z-]+", run("./holdfastctl", "--help").stdout.split("Options of all commands:")[1].split("\n\n")[0]))
    return differences(options(section(page("holdfastctl.1"), "OPTIONS")), there)


def exit_codes():
    """holdfastctl(1) has the exit codes of its header"""
    documented = set(re.findall(r"^\.It (\d)$", section(page("holdfastctl.1"), "EXIT STATUS"), re.M))
    return differences(documented, set(re.findall(r"EXIT_\w+ = (\d)", read("ctl/command.h"))))


def configuration_members():
    """holdfast.json(5) has every member of holdfast.json, and no other"""
    text = section(page("holdfast.json.5"), "MEMBERS")
    marked = {word for line in re.findall(r"^\.(?:It )?Li (.*)$", text, re.M) for word in re.findall(r"[A-Za-z]+", line)}
    items = {word for line in re.findall(r"^\.It Li (.*)$", text, re.M) for word in re.findall(r"[A-Za-z]+", line)}
    there = set(re.findall(r'^\s*(?:static const struct field fields\[\] = \{)?\{"(\w+)", FIELD_', read("daemon/configuration.c"), re.M))
    return differences(items - there, set()) + differences(set(), there - marked) + ([] if len(there) > 15 else ["no members were found"])


def arguments(member, direction=None):
    return ", ".join(f"{item.get('type')} {item.get('name')}" for item in member.findall("arg") if direction in (None, item.get("direction")))


def bus_members():
    """org.holdfast.Holdfast1(5) has the methods, properties and signals of the interfaces, to the last argument"""
    marks = {"const": " (const)", "false": " (read)", "true": ""}
    documented, there = set(), set()
    for path in glob.glob(f"{SOURCE}/data/{NAME}.*.xml"):
        interface = tree.parse(path).getroot().find("interface")
        name = interface.get("name")
        for kind, member in ((member.tag, member) for member in interface):
            if kind == "method":
                there.add(f"{name} Methods: {member.get('name')}({arguments(member, 'in')}) -> ({arguments(member, 'out')})")
            elif kind == "signal":
                there.add(f"{name} Signals: {member.get('name')}({arguments(member)})")
            else:
                mark = next((note.get("value") for note in member.findall("annotation")), "true")
                there.add(f"{name} Properties: {member.get('type')} {member.get('name')}{marks[mark]}")
    for kind, name, text in re.findall(r"^\.Ss (\w+) of (\S+)\n(.*?)(?=^\.S[sh] )", page(f"{NAME}.5"), re.M | re.S):
        documented |= {f"{name} {kind}: {item}" for item in re.findall(r'^\.It Li "(.*)"$', text, re.M)}
    return differences(documented, there) + ([] if len(there) > 70 else [f"only {len(there)} members were found"])


def bus_errors():
    """org.holdfast.Holdfast1(5) has the errors of the one table"""
    there = {code[0].upper() + code[1:] for code in re.findall(r'^OUTCOME\(\w+, "(\w+)", [345]', read("daemon/outcome.def"), re.M)}
    return differences(set(re.findall(r"^\.It Li Error\.(\w+)$", page(f"{NAME}.5"), re.M)), there)


def polkit_actions():
    """org.holdfast.Holdfast1(5), the file of polkit's actions and the code that asks for them name the same"""
    documented = set(re.findall(rf"^\.It Li {NAME}\.(\w+)$", section(page(f"{NAME}.5"), "DESCRIPTION"), re.M))
    there = {action.get("id").rsplit(".", 1)[1] for action in tree.parse(f"{SOURCE}/data/{NAME}.policy").getroot().iter("action")}
    asked = set(re.findall(r'BUS_NAME "\.(\w+)"', read("dbus/authorize.c")))
    return differences(documented, there) + [f"asked for, and no action: {name}" for name in sorted(asked ^ there)]


def policy_page():
    """holdfast-policy(5) says what docs/policy-reference.md says"""
    done = run(sys.executable, f"{SOURCE}/docs/man/refresh-policy", "--check")
    return done.stderr.splitlines() if done.returncode else []


def main():
    tests = (pages_are_clean, daemon_options, commands, global_options, exit_codes, configuration_members, bus_members, bus_errors,
             polkit_actions, policy_page)
    print(f"1..{len(tests)}")
    for number, test in enumerate(tests, 1):
        wrong = test()
        print(f"{'not ok' if wrong else 'ok'} {number} - man pages: {test.__doc__}")
        for line in wrong:
            print(f"#   {line}")


main()
