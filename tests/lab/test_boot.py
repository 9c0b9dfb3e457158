# SPDX-License-Identifier: LGPL-2.1-or-later
"""The boot, by the real systemd and the units as they are installed: what comes up when, and what the saved state says."""

import json
import os
import re
import shutil

from lab import process, topology
from lab.api import Api
from lab.leaks import of_the_kernel
from lab.systemd import Systemd
from test_managers import KERNEL

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# A network manager, as systemd.special(7) asks it to be ordered; it sends as soon as it is there.
EARLY = """[Unit]
DefaultDependencies=no
Wants=network-pre.target
After=network-pre.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/bash -c 'for n in 1 2 3; do echo early >/dev/udp/%s/4242; done; true'
"""


def units(lab, holdfast=True):
    """nftables.service as its package has it, Holdfast's as it is installed, and a network manager."""
    found = {"early.service": EARLY % topology.INTERNET4, "network-pre.target": "[Unit]\nDefaultDependencies=no\n"}
    with open("/usr/lib/systemd/system/nftables.service") as file:
        found["nftables.service"] = file.read()
    with open(f"{TOP}/data/holdfast.service.in") as file:
        text = file.read()
    if holdfast:
        os.makedirs("/run/lab/sbin")
        program = shutil.copy(lab.program("holdfastd"), "/run/lab/sbin/holdfastd")  # the folder of the build may be one that the unit hides
        text = text.replace("@sbindir@/holdfastd", f"{program} --config-dir /etc/holdfast --state-dir /var/lib/holdfast --runtime-dir /run/holdfast")
        found["holdfast.service"] = re.sub("@(localstatedir|sysconfdir)@", lambda match: {"localstatedir": "/var", "sysconfdir": "/etc"}[match[1]], text)
    return found


def prepare(lab, **files):
    """What stands in /etc when the machine boots."""
    script = "mkdir -p /etc/holdfast && printf 'flush ruleset\ntable inet site {\n}\n' >/etc/nftables.conf"
    lab.run(["sh", "-c", script])
    for name, text in files.items():
        lab.run(["sh", "-c", f"cat >/etc/holdfast/{name}.json"], input=text)


def boot(lab, **options):
    """Boots; returns the packets that the network manager sent meanwhile and that left."""
    place = lab.capture.mark()
    systemd = Systemd(lab, units(lab, **options))

    def is_up():
        return systemd.run("systemctl", "is-active", "early.service", check=False).stdout.strip() == "active"

    process.until(is_up, systemd.log)
    assert "table inet site" in lab.nft("list", "ruleset").stdout
    return [frame for frame in lab.capture.since(place) if frame.payload == b"early\n"], systemd


def test_without(lab):
    """the control: without Holdfast what the first network manager sends leaves"""
    prepare(lab)
    sent, _ = boot(lab, holdfast=False)
    assert len(sent) == 3


def held(lab):
    """Boots behind a closed gate that nobody had to heal."""
    sent, systemd = boot(lab)
    assert not sent, sent[0]
    status = Api("/run/holdfast/api.sock").status()
    assert (status["protection"], status["gate"]["kernel"], status["gate"]["healed"]) == ("blocking", "closed", 0), status
    assert systemd.run("systemctl", "is-active", "holdfast.service").stdout.strip() == "active"
    lab.leaks.closed()
    return systemd


def test_always(lab):
    """mode always: the gate stands behind nftables.service's flush and before any network manager; its reload, stop and start are healed"""
    lab.leaks.prove()
    prepare(lab, **{"kill-switch": json.dumps({"mode": "always"})})
    systemd = held(lab)
    for verb in ("reload", "stop", "start"):
        watch = Api("/run/holdfast/api.sock").watch()
        lab.leaks.begin()
        generator = lab.generator(KERNEL)
        systemd.run("systemctl", verb, "nftables.service")
        event = watch.wait(kind="gateTampered")
        lab.leaks.offered(generator.stop())
        lab.leaks.verdict(tolerate=of_the_kernel)
        assert (event["process"], event["healed"]) == ("nft", True), event
        lab.leaks.closed()


def test_unreadable(lab):
    """settings that cannot be read at boot: closed, and the LAN blocked"""
    lab.leaks.prove()
    prepare(lab, **{"kill-switch": '{"mode": "auto", "lan": "allow", '})
    held(lab)
