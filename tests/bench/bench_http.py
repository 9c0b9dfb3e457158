# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a request of the status costs, over the least that libmicrohttpd answers: a ratio within one run."""

import json
import statistics
import subprocess

from lab import process

# Short runs, one after the other, each compared with its neighbour: what else the machine does slows both, and the median leaves out
# those that it slowed alone. More rounds where the first do not show it: all count.
ROUNDS, ROUNDS_MAX = 61, 183
REQUESTS, CONNECTIONS = 4000, 8
THROUGHPUT, P99 = 0.8, 2.0  # the goals, which more rounds are made for
SLACK = 1.25  # what fails is a quarter beyond them


def ask(lab, path, target):
    alone = ["chrt", "--fifo", "1", "taskset", "--cpu-list", str(process.CLIENT)]
    done = lab.run([*alone, lab.program("tests/bench/http-load"), "ask", path, target, str(CONNECTIONS), str(REQUESTS)], timeout=60)
    return json.loads(done.stdout)


def ratio(ours, theirs, member):
    return statistics.median(one[member] / other[member] for one, other in zip(ours, theirs))


def bench_status(lab):
    """GetStatus has at least 0.8 of the throughput of a bare answer of the same size, and at most twice its p99"""
    daemon, _ = lab.guarded()
    size = len(json.dumps(daemon.api.status(), separators=(",", ":"))) + 1
    path = "/run/lab/bare.sock"
    bare = subprocess.Popen([lab.program("tests/bench/http-load"), "serve", path, str(size), "application/json"],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=lab.net.client.join)
    assert bare.stdout.readline() == b"ready\n"
    for server in (bare, daemon.process):
        process.first(server.pid, process.SERVER)
    theirs, ours = [], []
    for number in range(1, ROUNDS_MAX + 1):
        theirs.append(ask(lab, path, "/"))
        ours.append(ask(lab, daemon.api.path, "/v1/status"))
        if number % ROUNDS:
            continue
        throughput, p99 = ratio(ours, theirs, "perSecond"), ratio(ours, theirs, "p99")
        if throughput >= THROUGHPUT and p99 <= P99:
            break
    bare.stdin.close()
    bare.wait()
    for name, runs in (("bare", theirs), ("ours", ours)):
        rate, slow = (statistics.median(run[member] for run in runs) for member in ("perSecond", "p99"))
        lab.note(f"{name}: {rate:.0f}/s, p99 {slow:.0f} µs")
    lab.note(f"{size} bytes: throughput × {throughput:.2f}, p99 × {p99:.2f}, in {number} rounds")
    assert throughput >= THROUGHPUT / SLACK and p99 <= P99 * SLACK, (throughput, p99)
