# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs tests: plain functions named test_…, in files named test_*.py (bench_… for benches), each in a lab of its own.

Every test is a process in new pid, network, mount and cgroup namespaces, so it begins with nothing and leaves nothing, whatever it
starts and however it ends. Output is TAP: a line per test with the time it took, a reason beneath a failure, and the folder with its
logs and its capture. Nothing is retried, nothing is skipped.
"""

import argparse
import contextlib
import faulthandler
import importlib.util
import json
import os
import re
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback

from . import isolation, kernel

isolation.require()

TIMEOUT = 300  # seconds for one test: one that takes longer hangs


class Test:
    """One test: FUNCTION of the file MODULE; `name` is its property as a sentence. `alone`: nothing runs beside it, for what it prints are times."""

    def __init__(self, module, function):
        self.function = function
        self.alone = getattr(function, "alone", False)
        self.module = module.removeprefix("test_").removeprefix("bench_")
        self.identifier = f"{self.module}.{function.__name__.split('_', 1)[1]}"
        words = (function.__doc__ or "").strip().split("\n")[0].rstrip(".")
        self.name = f"{self.module}: {words or function.__name__.split('_', 1)[1].replace('_', ' ')}"


def discover(folder, prefix="test_"):
    """Every test below FOLDER, by file and then in the order of the file; those that run alone come last."""
    tests = []
    for file in sorted(os.listdir(folder)):
        if not (file.startswith(prefix) and file.endswith(".py")):
            continue
        module = file[:-3]
        spec = importlib.util.spec_from_file_location(module, f"{folder}/{file}")
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        functions = [value for name, value in vars(loaded).items() if name.startswith(prefix) and callable(value)]
        functions = [function for function in functions if function.__module__ == module]
        tests += [Test(module, function) for function in sorted(functions, key=lambda function: function.__code__.co_firstlineno)]
    return sorted(tests, key=lambda test: test.alone)


class Run:
    """A test that is being run. `finished()` reads how it ended."""

    def __init__(self, test, number, folder, build, keep):
        self.test, self.number = test, number
        self.folder = f"{folder}/{test.identifier}"
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        self.cgroup = f"/sys/fs/cgroup/test-{number}"
        os.mkdir(self.cgroup)
        self.begun = time.monotonic()
        self.deadline = self.begun + TIMEOUT
        self.pipe, writer = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.pipe)
                self._isolate()
                self._body(writer, build, keep)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(70)
        os.close(writer)
        self.pidfd = os.pidfd_open(self.pid)

    def _isolate(self):
        """This process waits for the first process of a new pid namespace; that one reaps for the test, its child."""
        kernel.die_with_parent(signal.SIGKILL)
        with open(f"{self.cgroup}/cgroup.procs", "w") as file:
            file.write("0")
        kernel.unshare(kernel.CLONE_NEWCGROUP | kernel.CLONE_NEWNET | kernel.CLONE_NEWNS | kernel.CLONE_NEWPID)
        first = os.fork()
        if first:
            os.waitpid(first, 0)
            os._exit(0)
        kernel.die_with_parent(signal.SIGKILL)
        kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
        kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
        isolation.cover()
        isolation.reap_for(os.fork())

    def _body(self, writer, build, keep):
        output = os.open(f"{self.folder}/output.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        if not keep:
            os.dup2(output, 1)
            os.dup2(output, 2)
        os.close(output)
        with open(f"{self.folder}/stacks.log", "w") as stacks:
            if not keep:
                faulthandler.dump_traceback_later(TIMEOUT - 1, file=stacks)
            result = self._run(build)
        if keep:
            print(json.dumps(result, indent=2))
            print(f"\nThis shell is in the lab of {self.test.identifier}: `ip netns exec client …`, logs in {self.folder}; it ends with it.")
            os.system("${SHELL:-/bin/bash}")
        with os.fdopen(writer, "w") as pipe:
            json.dump(result, pipe)
        sys.stdout.flush()
        os._exit(0)

    def _run(self, build):
        from .lab import Lab

        lab = None
        try:
            lab = Lab(self.folder, build)
            self.test.function(lab)
            lab.close()
            return {"passed": True, "notes": lab.notes}
        except BaseException as error:
            traceback.print_exc()
            frame = traceback.extract_tb(error.__traceback__)
            place = next((entry for entry in reversed(frame) if "/test_" in entry.filename or "/bench_" in entry.filename), frame[-1])
            text = str(error) or (f"assert {place.line.removeprefix('assert ')}" if isinstance(error, AssertionError) else "")
            reason = f"{type(error).__name__}: {text}\nat {os.path.basename(place.filename)}:{place.lineno}: {place.line}"
            if lab is not None:
                with contextlib.suppress(Exception):
                    lab.keep()
            return {"passed": False, "reason": reason, "notes": lab.notes if lab else []}

    def overdue(self):
        """Ends it when its time is up."""
        if time.monotonic() < self.deadline:
            return False
        os.kill(self.pid, signal.SIGKILL)  # the pid namespace's first process dies with it, and everything with that one
        return True

    def finished(self, overdue):
        """Collects the result and removes what is left: a folder with logs where it failed, nothing else."""
        os.waitpid(self.pid, 0)
        os.close(self.pidfd)
        with os.fdopen(self.pipe) as pipe:
            text = pipe.read()
        isolation.remove_cgroup(self.cgroup)
        if overdue:
            result = {"passed": False, "reason": f"not finished in {TIMEOUT} s; stacks.log says where it was"}
        else:
            result = json.loads(text) if text else {"passed": False, "reason": "the test's process ended without a result"}
        result["seconds"] = time.monotonic() - self.begun
        if result["passed"]:
            shutil.rmtree(self.folder, ignore_errors=True)
        return result


def run_all(tests, folder, build, jobs, keep, report):
    """Runs TESTS, JOBS at a time; `report(number, test, result, run)` is called in the order of the numbers."""
    waiting, running, done, told = list(enumerate(tests, 1)), [], {}, 0
    while waiting or running:
        while waiting and len(running) < (1 if waiting[0][1].alone else jobs):
            number, test = waiting.pop(0)
            running.append(Run(test, number, folder, build, keep))
        patience = max(0, min(run.deadline for run in running) - time.monotonic())
        ended, _, _ = select.select([run.pidfd for run in running], [], [], None if keep else patience)
        for run in list(running):
            overdue = run.pidfd not in ended and not keep and run.overdue()
            if run.pidfd in ended or overdue:
                running.remove(run)
                done[run.number] = (run, run.finished(overdue))
        while told + 1 in done:
            told += 1
            run, result = done.pop(told)
            report(told, run.test, result, run)


def main(arguments, folder):
    """Inside the lab: the command line of tests/lab/run. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="tests/lab/run", description="Runs the lab tests, each in network namespaces of its own.")
    parser.add_argument("filter", nargs="*", help="only tests whose identifier or property contains one of these words")
    parser.add_argument("--list", action="store_true", help="says which tests there are")
    parser.add_argument("--build", default="build", help="where holdfastd, holdfast-worker and holdfastctl are (build)")
    parser.add_argument("--jobs", type=int, default=1, help="tests at a time (1)")
    parser.add_argument("--bench", action="store_true", help="runs tests/bench instead, one at a time")
    parser.add_argument("--vm", action="store_true", help="runs tests/vm instead: they need a kernel with WireGuard, see tests/vm/run")
    parser.add_argument("--keep", action="store_true", help="a shell in the lab after the test")
    parser.add_argument("--logs", help="folder for logs of failed tests (a new one in $TMPDIR)")
    options = parser.parse_args(arguments)

    if options.bench:
        tests = discover(os.path.join(folder, "../bench"), "bench_")
        options.jobs = 1
    elif options.vm:
        tests = discover(os.path.join(folder, "../vm"))
    else:
        tests = discover(folder)
    if options.filter:
        tests = [test for test in tests if any(word in test.identifier or word in test.name for word in options.filter)]
    if options.list:
        for test in tests:
            print(f"{test.identifier:48} {test.name}")
        return 0
    logs = options.logs or tempfile.mkdtemp(prefix="holdfast-lab-")
    counts = {True: 0, False: 0}
    print(f"1..{len(tests)}", flush=True)

    def report(number, test, result, run):
        counts[result["passed"]] += 1
        name = re.sub(r"[#\n]", " ", test.name)
        print(f"{'ok' if result['passed'] else 'not ok'} {number} - {name} ({result['seconds']:.2f} s)")
        for note in result.get("notes", []):
            print(f"# {note}")
        if not result["passed"]:
            for line in result["reason"].splitlines():
                print(f"#   {line}")
            print(f"#   logs and the capture: {run.folder}")
        sys.stdout.flush()

    run_all(tests, logs, os.path.abspath(options.build), max(1, options.jobs), options.keep, report)
    with contextlib.suppress(OSError):
        os.rmdir(logs)
    print(f"{counts[True]} passed, {counts[False]} failed", flush=True)
    return 0 if counts[True] and not counts[False] else 1
