# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the doctor finds, each finding provoked for real; and what takes the place of what a kernel lacks."""

import errno
import json
import os
import signal
import subprocess

from lab import kernel, process, topology
from lab.daemon import RESTART_AT_ONCE
from lab.leaks import OPENVPN
from lab.on_bus import NAME, ROOT, OnBus, plain
from lab.traffic import KINDS
from test_command import install

NOWHERE = "/dev/null"  # in the place of a program: it cannot be run


def findings(daemon, code=None):
    """What Diagnose answers, or what of it has CODE."""
    found = daemon.api.get("/diagnostics")["findings"]
    return [finding for finding in found if code in (None, finding["code"])]


def one(daemon, code, severity, subject, *words):
    """The only finding of CODE: its severity, its subject, words of its summary; and a remedy."""
    found = findings(daemon, code)
    assert len(found) == 1, findings(daemon)
    finding = found[0]
    assert (finding["severity"], finding["subject"]) == (severity, subject), finding
    assert finding["summary"].startswith(subject) and all(word in finding["summary"] for word in words), finding
    assert finding["remedy"] or code in ("foreignFirewall", "notChecked"), finding
    return finding


def none(daemon, *codes):
    assert not [finding for code in codes for finding in findings(daemon, code)], findings(daemon)


def covered(daemon, *commands):
    """From its next start on the daemon has mounts of its own, in which COMMANDS (of a shell) were run first."""
    command = daemon.command
    script = " && ".join([*commands, 'exec "$@"'])
    daemon.command = lambda *arguments: ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *command(*arguments)]
    return daemon


def covered_daemon(lab, *commands, **options):
    return covered(lab.daemon(start=False, **options), *commands).start()


def always(daemon):
    """The administrator's file has the mode `always`: a gate that fails does not take it back, as it does a request."""
    with open(f"{daemon.config_dir}/kill-switch.json", "w") as file:
        json.dump({"mode": "always"}, file)
    return daemon


def sysctl(lab, path, value):
    with lab.net.client.entered(), open(f"/proc/sys/net/{path}", "w") as file:
        file.write(str(value))


# The answer


def test_everywhere_the_same(lab):
    """REST, D-Bus and holdfastctl tell the same findings, the worst first, and the exit code is the worst one's"""
    on_bus = OnBus(lab)
    daemon = on_bus.daemon
    assert daemon.ctl("doctor").returncode == 0, daemon.ctl("doctor")
    assert {finding["severity"] for finding in findings(daemon)} <= {"notice"}, findings(daemon)
    none(daemon, "busAbsent")
    lab.ip("link", "add", "guest0", "link", "eth0", "type", "macvlan")
    assert daemon.ctl("doctor").returncode == 8, daemon.ctl("doctor")
    with open(f"{daemon.config_dir}/policy.json", "w") as file:
        file.write("{}")
    daemon.process.send(signal.SIGHUP)
    process.until(lambda: findings(daemon, "documentRefused"), "the reload")
    rest, done = findings(daemon), daemon.ctl("--json", "doctor")
    assert done.returncode == 9 and json.loads(done.stdout)["findings"] == rest, done
    order = ["error", "warning", "notice"]
    severities = [finding["severity"] for finding in rest]
    assert severities == sorted(severities, key=order.index) and set(severities) == set(order), rest
    assert plain(on_bus.call(ROOT, f"{NAME}.Manager", "Diagnose")) == [rest]
    text = daemon.ctl("doctor").stdout
    assert text.startswith("error documentRefused") and "guest0" in text and "→" in text, text
    assert daemon.ctl_as_member("doctor").returncode == 9  # it takes no more than to read


# Holdfast itself


def test_itself(lab):
    """modes, trials, releases, the way out, holds and foreign hands are told, each until it is over"""
    daemon = lab.daemon()
    server = lab.server()
    daemon.policy(RESTART_AT_ONCE)
    daemon.add_tunnel(server.document())
    none(daemon, "modeOff", "released", "wayOutTaken", "gateHeld", "gateHealed", "onTrial", "blockFailure", "bootStepUnknown")
    daemon.api.put("/kill-switch/mode", {"mode": "off"})
    daemon.api.start()
    one(daemon, "modeOff", "warning", "mode")
    daemon.api.put("/kill-switch/mode", {"mode": "always", "confirmWithin": "1h"})
    one(daemon, "onTrial", "notice", "kill-switch")
    daemon.api.post("/kill-switch/confirm", {})
    daemon.api.post("/kill-switch/release", {"reason": "a hotel", "for": "1h"})
    one(daemon, "released", "warning", "gate", "open")
    none(daemon, "modeOff", "onTrial")
    daemon.api.mode("always")
    none(daemon, "released")
    watch = daemon.api.watch()
    lab.nft("delete", "table", "inet", "holdfast")
    watch.wait(kind="gateTampered")
    one(daemon, "gateHealed", "notice", "gate", "1 time ")
    daemon.kill()
    assert daemon.ctl("--state-dir", daemon.state_dir, "release").returncode == 0
    daemon.start()
    one(daemon, "wayOutTaken", "error", "gate", f"{daemon.state_dir}/released")
    daemon.api.mode("auto")
    none(daemon, "wayOutTaken")
    daemon.kill()
    with open(f"{daemon.state_dir}/state.json", "w") as file:
        file.write("{")
    daemon.start()
    one(daemon, "gateHeld", "warning", "gate", "state.json")


def test_document_refused(lab):
    """a document that was refused is named with its first error, until it is mended"""
    daemon = lab.daemon()
    path = f"{daemon.config_dir}/policy.json"
    for text, found in (('{"version": 1, "rules": [], "colour": 1}', True), (json.dumps(RESTART_AT_ONCE), False)):
        with open(path, "w") as file:
            file.write(text)
        daemon.process.send(signal.SIGHUP)
        process.until(lambda: bool(findings(daemon, "documentRefused")) == found, "the reload")
        if found:
            one(daemon, "documentRefused", "error", path, "/colour")


def test_boot_step(lab):
    """a gate that is to stand from boot on, and a unit that is not enabled, are told; without systemd that is not known"""
    daemon = lab.daemon()
    none(daemon, "bootStepMissing", "bootStepUnknown")
    daemon.api.mode("always")
    one(daemon, "bootStepUnknown", "notice", "holdfast.service")
    os.makedirs("/run/systemd/system/sysinit.target.wants")
    one(daemon, "bootStepMissing", "warning", "holdfast.service")
    none(daemon, "bootStepUnknown")
    os.symlink("/usr/lib/systemd/system/holdfast.service", "/run/systemd/system/sysinit.target.wants/holdfast.service")
    none(daemon, "bootStepMissing", "bootStepUnknown")


def test_state_directory(lab):
    """a state directory that is nearly full, and one that is read-only, are told before and while nothing can be recorded"""
    folder = "/run/lab/small"
    os.makedirs(folder)
    lab.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", folder])
    daemon = lab.daemon(state_dir=folder)
    one(daemon, "spaceLow", "warning", folder, "KiB")
    none(daemon, "stateNotSaved", "journalBroken")
    daemon.kill()
    lab.run(["mount", "-o", "remount,ro", folder])
    daemon.start()
    one(daemon, "stateNotSaved", "error", folder)
    one(daemon, "journalBroken", "warning", "journal", "journal.db")


# What the kernel and the host lack


def test_without_cgroups(lab):
    """without cgroup v2 openvpn marks its own sockets: it comes up, nothing leaks, and what is lost is told"""
    without_marks(lab, covered(lab.daemon(start=False), "umount -l /sys/fs/cgroup"))
    one(lab.daemons[0], "cgroupsMissing", "warning", "cgroup v2", "not mounted", "cannot be granted")
    none(lab.daemons[0], "bpfRefused")


def test_without_bpf(lab):
    """where bpf(2) is refused the same holds, and it is told as that"""
    without_marks(lab, lab.daemon(start=False, limit=lambda: kernel.refuse("bpf", errno.EPERM)))
    one(lab.daemons[0], "bpfRefused", "warning", "bpf(2)", "Operation not permitted", "cannot be granted")
    none(lab.daemons[0], "cgroupsMissing", "pinsMissing")


def without_marks(lab, daemon):
    """DAEMON is started where sockets cannot be marked at birth: tunnels of each driver, grants, and what leaves."""
    lab.leaks.prove()
    server = lab.openvpn_server()
    install(daemon, ["line"])
    os.makedirs(f"{process.CGROUPS}/torrent.slice", exist_ok=True)
    daemon.start()
    daemon.policy(RESTART_AT_ONCE)
    daemon.api.mode("always")
    daemon.add_tunnel(server.document())
    lab.leaks.begin()
    generator = lab.generator()
    daemon.api.start()
    daemon.wait_connected()
    lab.ping(topology.INTERNET4)
    watch = daemon.api.watch()
    os.kill(daemon.client_pid("openvpn"), signal.SIGKILL)
    watch.wait_state("connected")
    lab.ping(topology.INTERNET4)
    daemon.api.stop()
    lab.leaks.offered(generator.stop())
    lab.leaks.verdict([OPENVPN])
    answer = daemon.api.call("POST", "/bypass", {"slice": "torrent.slice"})
    assert answer.status == 503 and "cgroup v2 with BPF is missing or refused" in answer.body["detail"], answer
    daemon.api.put("/policy", {"version": 1, "rules": [], "otherwise": {"action": "terminate"}})
    daemon.api.call("POST", "/tunnels/office/start?wait=60s", {})
    office = daemon.api.tunnel("office")
    assert (office["state"], office["lastError"]) == ("failed", "workerStartFailed"), office
    assert "cannot be marked at birth" in office["lastDetail"], office
    lab.leaks.closed([OPENVPN])


def test_refused_gate(lab):
    """where nftables refuses the gate, policy routing holds what lets the kernel choose its route; the failure is loud, and over with its cause"""
    lab.leaks.prove()
    owner = subprocess.Popen(["nft", "-i"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=lab.net.client.join)
    owner.stdin.write("add table inet holdfast { flags owner; }\nlist tables\n")
    owner.stdin.flush()
    while "holdfast" not in (line := owner.stdout.readline()):
        assert line, "nft ended"
    daemon = always(lab.daemon(start=False)).start()
    assert one(daemon, "blockFailure", "error", "gate", "nftables")
    assert daemon.api.status()["protection"] == "failing"
    assert daemon.ctl("doctor").returncode == 9
    free = [kind for kind in KINDS if kind.name in {f"{what}{family} to a {where} host" for what in ("udp", "tcp", "ping") for family in "46"
                                                    for where in ("public", "LAN")}]
    assert len(free) == 12, free
    place = lab.capture.mark()
    lab.offering.offer(free)
    assert not lab.leaks.leaked(place=place)
    watch = daemon.api.watch()
    owner.stdin.close()
    owner.wait(process.PATIENCE)
    watch.wait(kind="gateChanged")
    none(daemon, "blockFailure")
    lab.leaks.closed()


def test_without_tun(lab):
    """without /dev/net/tun the first layer holds, and the tunnel's failure has a name"""
    lab.leaks.prove()
    daemon = always(covered(lab.daemon(start=False), "mkdir -p /run/empty", "mount --bind /run/empty /dev/net")).start()
    one(daemon, "tunMissing", "error", "/dev/net/tun", "No such file")
    one(daemon, "blockFailure", "error", "gate", "routing")
    lab.leaks.closed()


def test_kernel(lab):
    """Landlock, bpffs, IPv6, a clock and the kernel's WireGuard that are not there are told"""
    daemon = lab.daemon(start=False, limit=lambda: kernel.refuse("landlock_create_ruleset", errno.ENOSYS))
    covered(daemon, "umount -l /sys/fs/bpf", "mount -t tmpfs tmpfs /sys/class").start()
    daemon.add_tunnel(lab.server().document())
    one(daemon, "workersNotParted", "notice", "Landlock")
    one(daemon, "pinsMissing", "notice", "/sys/fs/bpf")
    one(daemon, "clockMissing", "notice", "/sys/class/rtc")
    one(daemon, "busAbsent", "notice", "system bus")
    none(daemon, "ipv6Off")
    sysctl(lab, "ipv6/conf/all/disable_ipv6", 1)
    one(daemon, "ipv6Off", "notice", "IPv6")
    has_wireguard = lab.ip("link", "add", "wg-try", "type", "wireguard", check=False).returncode == 0
    assert bool(findings(daemon, "kernelWireguardMissing")) != has_wireguard, findings(daemon)


def test_nothing_missing(lab):
    """with a clock, a bpffs and Landlock nothing of that is told"""
    daemon = covered_daemon(lab, "mount -t tmpfs tmpfs /sys/class", "mkdir -p /sys/class/rtc/rtc0")
    none(daemon, "clockMissing", "pinsMissing", "workersNotParted", "cgroupsMissing", "bpfRefused", "tunMissing", "workerUserMissing",
         "kernelWireguardMissing", "programMissing", "resolverReadOnly", "dhcpPortsOpen", "hostSettingHeld", "notChecked")


def test_host_settings(lab):
    """ports of DHCP that everybody may use, and settings that are held at another value, are told"""
    daemon = lab.daemon()
    none(daemon, "dhcpPortsOpen", "hostSettingHeld")
    sysctl(lab, "ipv4/ip_unprivileged_port_start", 546)
    one(daemon, "dhcpPortsOpen", "warning", "net/ipv4/ip_unprivileged_port_start", "546")
    sysctl(lab, "ipv4/ip_unprivileged_port_start", 547)
    none(daemon, "dhcpPortsOpen")
    sysctl(lab, "ipv4/conf/all/rp_filter", 1)
    daemon.api.mode("always")
    one(daemon, "hostSettingHeld", "notice", "net/ipv4/conf/all/rp_filter", "was 1", "held at 2")
    daemon.api.mode("off")
    none(daemon, "hostSettingHeld")


def test_programs(lab):
    """programs that a configured tunnel or grant needs are named with the package that has them"""
    daemon = covered_daemon(lab, *(f"mount --bind {NOWHERE} {path}" for path in ("/usr/bin/wireguard-go", "/usr/sbin/openvpn", "/usr/sbin/dnsmasq")))
    none(daemon, "programMissing")
    daemon.add_tunnel(lab.server().document())
    daemon.add_tunnel(lab.openvpn_server().document("office"))
    daemon.api.patch("/kill-switch", {"bypass": {"domains": ["example.org"]}})
    found = {finding["subject"]: finding for finding in findings(daemon, "programMissing")}
    assert {name: finding["remedy"] for name, finding in found.items()} == {
        "wireguard-go": "apt install wireguard-go", "openvpn": "apt install openvpn", "/usr/sbin/dnsmasq": "apt install dnsmasq-base"}, found
    assert "tunnel office" in found["openvpn"]["summary"] and found["openvpn"]["severity"] == "error", found


def test_impossible_tunnel(lab):
    """a tunnel that asks for what this kernel has not, and one without a user for its worker, are told before they are started"""
    with open("/etc/passwd") as file:
        users = [line for line in file if not line.startswith("holdfast-worker:")]
    with open("/run/lab/passwd", "w") as file:
        file.writelines(users)
    daemon = covered_daemon(lab, "mount --bind /run/lab/passwd /etc/passwd")
    one(daemon, "workerUserMissing", "error", "holdfast-worker")
    if lab.ip("link", "add", "wg-try", "type", "wireguard", check=False).returncode == 0:
        return  # nothing of that is impossible here
    document = lab.server().document()
    document["settings"]["implementation"] = "kernel"
    daemon.add_tunnel(document)
    assert "WireGuard" in findings(daemon, "tunnelImpossible")[0]["summary"], findings(daemon)


def test_resolver(lab):
    """a resolv.conf that cannot be written, where nothing but the file would do, is told"""
    daemon = covered_daemon(lab, "mount --bind /etc /etc", "mount -o remount,ro,bind /etc")
    one(daemon, "resolverReadOnly", "warning", "/etc/resolv.conf", "Read-only")


def test_granted_names(lab):
    """granted domains whose dnsmasq does not stay up are told"""
    daemon = lab.daemon(start=False)
    covered(daemon, "mount --bind /bin/false /usr/sbin/dnsmasq").start()
    daemon.policy(RESTART_AT_ONCE)
    daemon.add_tunnel(lab.server().document(dns=[topology.INNER_SERVER4]))
    daemon.api.patch("/kill-switch", {"bypass": {"domains": ["example.org"]}, "dns": {"bypass": [topology.INTERNET4]}})
    daemon.api.start()
    daemon.wait_connected()
    process.until(lambda: findings(daemon, "namesFailing"), "that dnsmasq ended")
    one(daemon, "namesFailing", "warning", "dnsmasq", "ended")


# Who else is there


def test_firewalls(lab):
    """tables of others are told by whose they are; those that block, reroute behind the gate or carry flows past it are warned of"""
    daemon = lab.daemon()
    daemon.api.mode("always")
    none(daemon, "foreignFirewall")
    with open("/run/lab/others.nft", "w") as file:
        file.write("""
            table inet firewalld {
                chain filter_OUTPUT { type filter hook output priority 10; policy accept; }
            }
            table ip filter {
                chain ufw-before { }
                chain OUTPUT { type filter hook output priority 0; policy drop; }
            }
            table ip steer {
                chain out { type route hook output priority 10; policy accept; }
                chain early { type route hook output priority -150; policy accept; }
            }
            table ip idle {
                chain unused { }
            }
        """)
    lab.nft("-f", "/run/lab/others.nft")
    beside = {finding["subject"]: finding["summary"] for finding in findings(daemon, "foreignFirewall")}
    assert set(beside) == {"inet firewalld", "ip filter", "ip steer"}, beside
    assert "of firewalld" in beside["inet firewalld"] and "of ufw" in beside["ip filter"] and "2 chains" in beside["ip steer"], beside
    one(daemon, "foreignKillSwitch", "warning", "ip filter", "of ufw")
    one(daemon, "laterRouteChain", "warning", "ip steer")
    none(daemon, "flowtable")
    lab.nft("add", "table", "inet", "quick")
    done = lab.nft("add", "flowtable", "inet", "quick", "fast", "{ hook ingress priority 0; devices = { eth0 }; }", check=False)
    if done.returncode == 0:
        one(daemon, "flowtable", "warning", "inet quick")
    else:
        lab.note(f"this kernel has no flowtables: {done.stderr.splitlines()[0]}")


def test_legacy_firewalls(lab):
    """tables of iptables-legacy, which nftables does not show, are said to be unknown"""
    daemon = lab.daemon()
    none(daemon, "notChecked")
    for family in ("iptables", "ip6tables"):
        done = lab.run([f"{family}-legacy", "-P", "OUTPUT", "DROP"], check=False)
        if done.returncode:
            lab.note(f"this kernel has no {family}-legacy: {done.stderr.splitlines()[0]}")
            return
        assert f"{family}-legacy" in [finding["subject"] for finding in findings(daemon, "notChecked")], findings(daemon)


def test_many_firewalls(lab):
    """of a hundred tables sixteen are told, and how many more there are; beyond what is looked at is said to be unknown"""
    daemon = lab.daemon()
    with open("/run/lab/others.nft", "w") as file:
        for number in range(100):
            file.write(f"add table inet other{number:03}\nadd chain inet other{number:03} out {{ type filter hook output priority 10; }}\n")
    lab.nft("-f", "/run/lab/others.nft")
    found = findings(daemon, "foreignFirewall")
    assert len(found) == 17 and found[-1]["subject"] == "48 more", found
    one(daemon, "notChecked", "notice", "nftables", "36 more")


def test_links(lab):
    """guests on an uplink's bridge, macvlans, SR-IOV functions and other VPNs' links are told; those of a bridge of their own are not"""
    daemon = covered_daemon(lab, "mount -t tmpfs tmpfs /sys/class", "mkdir -p /sys/class/net/eth0/device",
                            "echo 3 >/sys/class/net/eth0/device/sriov_numvfs")
    one(daemon, "virtualFunctions", "warning", "eth0", "3")
    none(daemon, "bridgedUplink", "linkBesideHost", "otherTunnel")
    topology.batch(lab.net.client, [
        "link add virbr0 type bridge", "link set virbr0 up", "tuntap add vnet0 mode tap", "link set vnet0 master virbr0",
        "link add guest0 link eth0 type macvlan mode bridge", "link add guest1 link eth0 type macvlan mode bridge", "link add apart0 link virbr0 type macvlan",
        "tuntap add vpn0 mode tun", "link set vpn0 up",
    ])
    none(daemon, "bridgedUplink")
    assert [finding["subject"] for finding in findings(daemon, "linkBesideHost")] == ["guest0", "guest1"], findings(daemon)
    one(daemon, "otherTunnel", "notice", "vpn0")
    topology.batch(lab.net.client, [
        "link delete guest0", "link delete guest1", "link add br0 type bridge", "link set eth0 master br0",
        "link add far0 type veth peer name near0", "link set near0 master br0", "tuntap add vnet1 mode tap", "link set vnet1 master br0",
    ])
    none(daemon, "linkBesideHost")
    found = findings(daemon, "bridgedUplink")
    assert [finding["subject"] for finding in found] == ["near0", "vnet1"], found
    assert all("br0" in finding["summary"] and "eth0" in finding["summary"] for finding in found), found


def test_rules(lab):
    """rules in front of Holdfast's, and IPsec policies, are told; rules behind, and the kernel's and Holdfast's own, are not"""
    daemon = lab.daemon()
    daemon.api.mode("always")
    lab.ip("rule", "add", "priority", "6000", "from", "192.0.2.1", "table", "77")
    none(daemon, "earlierRule", "ipsecPolicy")
    lab.ip("rule", "add", "priority", "100", "from", "192.0.2.1", "table", "77")
    one(daemon, "earlierRule", "warning", "IPv4 rule 100", "table 77")
    lab.ip("-6", "rule", "add", "priority", "5099", "fwmark", "7", "table", "78")
    assert [finding["subject"] for finding in findings(daemon, "earlierRule")] == ["IPv4 rule 100", "IPv6 rule 5099"], findings(daemon)
    lab.ip("xfrm", "policy", "add", "src", "10.99.0.0/24", "dst", "10.98.0.0/24", "dir", "out", "tmpl", "src", "10.1.1.1", "dst", "10.2.2.2",
           "proto", "esp", "mode", "tunnel")
    one(daemon, "ipsecPolicy", "notice", "ip xfrm policy", "1 policy")


# Opens packet sockets, says so and waits.
SPY = """
import socket, sys
held = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3) for _ in range(int(sys.argv[1]))]
held[0].bind(("eth0", 3))
print("spying", flush=True)
sys.stdin.read()
"""


def spy(lab, count, user=0):
    os.makedirs("/run/lab/bin", exist_ok=True)
    become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--inh-caps=+net_raw", "--ambient-caps=+net_raw", "--"] if user else []
    popen = subprocess.Popen([*become, "/usr/bin/python3", "-c", SPY, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                             preexec_fn=lab.net.client.join)
    assert popen.stdout.readline() == "spying\n"
    return popen


def test_packet_sockets(lab):
    """who has a packet socket is told by name, once for each link; where the daemon may not look, by user"""
    daemon = lab.daemon()
    program = spy(lab, 3)
    found = [finding for finding in findings(daemon, "packetSocket") if f"(pid {program.pid})" in finding["subject"]]
    assert len(found) == 2 and "eth0" in found[0]["summary"] + found[1]["summary"], findings(daemon, "packetSocket")
    assert all(finding["subject"].startswith("python3 ") for finding in found), found
    daemon.stop()
    daemon.take_the_units_capabilities()
    with open("/run/lab/nsswitch.conf", "w") as file:
        file.write("passwd: nowhere\n")  # a directory that is not asked: it may be behind the gate, and keep the daemon waiting
    covered(daemon, "mount --bind /run/lab/nsswitch.conf /etc/nsswitch.conf").start()
    assert "user root" in [finding["subject"] for finding in findings(daemon, "packetSocket")], findings(daemon, "packetSocket")
    guest = spy(lab, 1, user=12345)
    found = [finding for finding in findings(daemon, "packetSocket") if finding["subject"] == "uid 12345"]
    assert len(found) == 1 and "cannot be seen" in found[0]["summary"], findings(daemon, "packetSocket")
    for popen in (program, guest):
        popen.stdin.close()
        popen.wait(process.PATIENCE)
    process.until(lambda: "uid 12345" not in str(findings(daemon, "packetSocket")), "that the sockets are gone")


def test_many_packet_sockets(lab):
    """packet sockets beyond what is looked at are said to be unknown"""
    daemon = lab.daemon()
    program = spy(lab, 80)
    assert "more packet sockets" in one(daemon, "notChecked", "notice", "/proc/net/packet")["summary"]
    program.stdin.close()
    program.wait(process.PATIENCE)


def test_as_unit(lab):
    """with what the unit leaves the daemon everything can be looked at, and nothing is taken for missing"""
    daemon = lab.daemon(start=False)
    daemon.take_the_units_capabilities()
    daemon.start()
    none(daemon, "notChecked", "bpfRefused", "cgroupsMissing", "tunMissing", "stateNotSaved", "workersNotParted")
