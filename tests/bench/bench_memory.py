# SPDX-License-Identifier: LGPL-2.1-or-later
"""How much memory the daemon takes with one tunnel up."""

import time

from lab import process

LIMIT_KIB = 5 * 1024


def memory(pid):
    """What a process has of its own in KiB (proc(5), smaps_rollup): what only it can use (Private_Dirty), the same with the clean pages
    of files that nobody else maps at the moment (the page cache has them; on a host with NetworkManager most are shared), resident."""
    values = {}
    with open(f"/proc/{pid}/smaps_rollup") as file:
        for line in list(file)[1:]:
            name, value = line.split(":")
            values[name] = int(value.split()[0])
    return values["Private_Dirty"], values["Private_Clean"] + values["Private_Dirty"], values["Rss"]


def come_to_rest(daemon):
    """At rest: what a commit needs for a moment is given back half a second after it, where the machine is not busy."""
    deadline = process.deadline_in()
    while memory(daemon.process.pid)[0] > LIMIT_KIB and time.monotonic() < deadline:
        time.sleep(0.1)


def bench_memory_with_one_tunnel(lab):
    """private memory of holdfastd with one tunnel up: at most 5 MiB"""
    daemon, _ = lab.guarded()
    lab.leaks.offer()
    come_to_rest(daemon)
    for name, pid in (("holdfast-worker", daemon.worker_pid()), ("holdfastd", daemon.process.pid)):
        private, unique, resident = memory(pid)
        lab.note(f"{name}: {private} KiB private, {unique} KiB with clean pages of files that nobody else maps, {resident} KiB resident")
    assert private <= LIMIT_KIB, f"{private} KiB"


def bench_memory_after_a_large_policy(lab):
    """private memory of holdfastd after a policy of 10,000 rules, each warned of, was checked, in force and replaced: at most 5 MiB"""
    daemon = lab.daemon()
    small = daemon.api.get("/policy")
    rule = {"when": {"error": "connectionTimeout", "attempt": {"min": 1}}, "then": {"action": "restart"}}
    large = {"version": 1, "rules": [rule] * 10_000}
    found = daemon.api.post("/policy/validate", large)
    assert found["warnings"][-1] == {"pointer": "", "detail": "19899 more are not listed"}, found["warnings"][-1]
    daemon.policy(large)
    most = memory(daemon.process.pid)[0]
    daemon.policy(small)
    come_to_rest(daemon)
    private = memory(daemon.process.pid)[0]
    lab.note(f"{most} KiB with the large policy, {private} KiB after it")
    assert most > LIMIT_KIB >= private, f"{private} KiB of {most} KiB"


def bench_memory_after_many_networks(lab):
    """private memory of holdfastd after 100,000 networks in its settings were taken out again: at most 5 MiB"""
    daemon = lab.daemon()
    networks = [f"20.{i >> 8}.{i & 255}.0/24" for i in range(32768)] + [f"2400:{i >> 8:x}:{i & 255:x}::/48" for i in range(67232)]
    for addresses in (networks, []):
        answer = daemon.api.call("PATCH", "/kill-switch", {"bypass": {"addresses": addresses}}, {"If-Match": "*"}, timeout=120)
        assert answer.status == 200 and answer.body["changed"], answer
        most = memory(daemon.process.pid)[0] if addresses else most
    come_to_rest(daemon)
    private = memory(daemon.process.pid)[0]
    lab.note(f"{most} KiB with the networks, {private} KiB after them")
    assert private <= LIMIT_KIB, f"{private} KiB of {most} KiB"
