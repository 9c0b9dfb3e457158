# SPDX-License-Identifier: LGPL-2.1-or-later
"""The real Docker Engine in the client's namespaces, with folders of its own and one container behind docker0."""

import io
import os
import signal
import tarfile

from . import isolation, process, topology
from .api import Api
from .namespace import Namespace

isolation.require()

_HOME = "/run/lab/docker"
_NAME = "box"
_BUSYBOX = "/bin/busybox"  # of busybox-static: all that the container has


class Docker:
    """dockerd of the package docker.io. It lets containers live while it is away (live-restore): `boxes` has the one."""

    def __init__(self, lab):
        self.lab, self.process, self.boxes = lab, None, []
        self.api = Api(f"{_HOME}/api.sock", prefix="")
        self.environment = os.environ | {"PATH": f"{lab.tool('usr/bin')}:{lab.tool('usr/sbin')}:{os.environ['PATH']}"}
        for folder in ("data", "exec"):
            os.makedirs(f"{_HOME}/{folder}")

    def start(self):
        """Returns once it has written its rules and answers."""
        command = ["dockerd", f"--data-root={_HOME}/data", f"--exec-root={_HOME}/exec", f"--pidfile={_HOME}/pid", f"--host=unix://{self.api.path}",
                   "--storage-driver=vfs", "--userland-proxy=false", "--live-restore"]  # fmt: skip
        self.process = process.Process(self.lab, "dockerd", command, self.lab.net.client, environment=self.environment)
        process.until(self._answers, lambda: self.process.log()[-3000:])
        if not self.boxes:
            self.boxes.append(self._box())

    def stop(self):
        self.process.send(signal.SIGTERM)
        self.process.wait()

    def reload(self):
        """As a restart of docker.service does it: its rules are written anew."""
        self.stop()
        self.start()

    def _answers(self):
        if not self.process.alive():
            raise process.Died(self.process.log()[-3000:])
        try:
            return self.api.call("GET", "/_ping").status == 200
        except OSError:
            return False

    def _box(self):
        image = io.BytesIO()
        with tarfile.open(fileobj=image, mode="w") as archive:
            archive.add(os.path.realpath(_BUSYBOX), _BUSYBOX)
        self.api.call("POST", f"/images/create?fromSrc=-&repo={_NAME}", image.getvalue(), content_type="application/x-tar")
        self.api.post(f"/containers/create?name={_NAME}", {"Image": _NAME, "Cmd": [_BUSYBOX, "sleep", "1000000"]})
        self.api.post(f"/containers/{_NAME}/start")
        box = Namespace.of(self.api.get(f"/containers/{_NAME}/json")["State"]["Pid"], _NAME)
        process.until(lambda: topology.forwards(self.lab.net.client, "docker0"), "docker0 does not forward")
        return box
