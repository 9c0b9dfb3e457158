# SPDX-License-Identifier: LGPL-2.1-or-later
"""HTTP over TCP: loopback with tokens, elsewhere with TLS; real clients, none of ours."""

import datetime
import json
import os
import select
import signal
import socket
import ssl
import subprocess

from lab import process, topology
from lab.process import PATIENCE

PORT = 9480
PLAIN = {"listen": [{"address": f"127.0.0.1:{PORT}"}]}


class Reached:
    """A daemon with holdfast.json; `curl` is the client."""

    def __init__(self, lab, api, **options):
        self.lab = lab
        self.daemon = lab.daemon(start=False, **options)
        self.tls = f"{self.daemon.config_dir}/tls"
        self.write(api)

    def write(self, api):
        with open(f"{self.daemon.config_dir}/holdfast.json", "w", encoding="utf-8") as file:
            json.dump({"api": api}, file)

    def init(self, folder=None, *options):
        done = self.daemon.ctl("tls", "init", folder or self.tls, *options)
        assert done.returncode == 0, done

    def files(self, **more):
        return {"certificate": f"{self.tls}/server.pem", "key": f"{self.tls}/server.key"} | more

    def token(self, scope):
        done = self.daemon.ctl("token", "create", f"for {scope}", scope)
        assert done.returncode == 0 and done.stdout.startswith("hft_"), done
        return done.stdout.strip()

    def curl(self, path, *options, address="127.0.0.1", scheme="http", token=None, namespace=None):
        """Status and body; status 0: there was no answer."""
        command = ["curl", "-sS", "--max-time", "60", "-w", "\n%{http_code}", *options]
        if token:
            command += ["-H", f"Authorization: Bearer {token}"]
        done = self.lab.run([*command, f"{scheme}://{address}:{PORT}{path}"], namespace, check=False, timeout=2 * PATIENCE)
        body, _, status = done.stdout.rpartition("\n")
        return int(status or 0), body

    def over_tls(self, path, *options, ca=None, **more):
        return self.curl(path, "--cacert", ca or f"{self.tls}/ca.pem", *options, scheme="https", **more)


def test_loopback_with_tokens(lab):
    """on loopback a token is its scope, from the moment it is made to the moment it is revoked, over a restart too"""
    reached = Reached(lab, PLAIN)
    daemon = reached.daemon.start()
    assert reached.curl("/healthz")[0] == 200
    assert reached.curl("/v1/status")[0] == 401
    reader, control = reached.token("read"), reached.token("control")
    assert reached.curl("/v1/status", token=reader)[0] == 200
    mode = ["-X", "PUT", "-H", "Content-Type: application/json", "-d", '{"mode": "always"}']
    assert reached.curl("/v1/kill-switch/mode", *mode, token=reader)[0] == 403
    assert reached.curl("/v1/kill-switch/mode", *mode, token=control)[0] == 200
    daemon.kill()
    daemon.start()
    assert reached.curl("/v1/status", token=reader)[0] == 200
    entry = next(token for token in daemon.api.get("/tokens")["tokens"] if token["scope"] == "read")
    assert entry["lastUsed"], entry
    assert daemon.ctl("token", "revoke", entry["id"]).returncode == 0
    assert daemon.ctl("token", "revoke", entry["id"]).returncode == 6
    assert reached.curl("/v1/status", token=reader)[0] == 401
    assert reached.curl("/v1/status", "-H", "Host: evil.example", token=control)[0] == 403
    kept = open(f"{daemon.state_dir}/tokens.json", encoding="utf-8").read()
    assert reader[4:] not in kept and control[4:] not in kept


def test_no_tls_no_port(lab):
    """without TLS no other address than loopback's is listened on: --check says so, and the daemon serves its Unix socket alone"""
    for api, word in (
        ({"listen": [{"address": f"0.0.0.0:{PORT}"}]}, "certificate"),
        ({"listen": [{"address": f"{topology.CLIENT4}:{PORT}", "tls": False}]}, "without TLS"),
    ):
        reached = Reached(lab, api, name=f"holdfastd{len(word)}")
        done = reached.daemon.run("--check")
        assert done.returncode == 1 and "holdfast.json" in done.stderr and word in done.stderr, done
        daemon = reached.daemon.start()
        assert word in daemon.api.status()["documentErrors"]
        assert reached.curl("/healthz")[0] == 0
        daemon.stop()


def test_tls_for_the_network(lab):
    """over TLS a host of the LAN gets in with a token or a certificate of ours, and with no other one"""
    reached = Reached(lab, PLAIN)
    reached.init()
    reached.init(f"{reached.tls}-other")
    clients = [{"subject": "CN=holdfast-client", "scope": "control"}]
    reached.write({"listen": [{"address": f"0.0.0.0:{PORT}"}], "tls": reached.files(clientCa=f"{reached.tls}/ca.pem"), "clients": clients})
    assert reached.daemon.run("--check").returncode == 0
    reached.daemon.start()
    token = reached.token("read")
    ours = ["--cert", f"{reached.tls}/client.pem", "--key", f"{reached.tls}/client.key"]
    others = ["--cert", f"{reached.tls}-other/client.pem", "--key", f"{reached.tls}-other/client.key"]
    at = {"address": topology.CLIENT4, "namespace": lab.net.lan}
    # The certificate names the host, not this address: curl is told where the host is.
    at_name = ["--connect-to", f"localhost:{PORT}:{topology.CLIENT4}:{PORT}"]
    from_lan = {"address": "localhost", "namespace": lab.net.lan}
    assert reached.curl("/healthz", scheme="http", **at)[0] != 200
    assert reached.over_tls("/v1/status", *at_name, **from_lan)[0] == 401
    assert reached.over_tls("/v1/status", *at_name, token=token, **from_lan)[0] == 200
    assert reached.over_tls("/v1/status", *at_name, *ours, **from_lan)[0] == 200
    assert reached.over_tls("/v1/status", *at_name, *others, **from_lan)[0] == 401
    # What the certificate says counts, not that it is one of the CA's: the server's own is no client's.
    servers = ["--cert", f"{reached.tls}/server.pem", "--key", f"{reached.tls}/server.key"]
    assert reached.over_tls("/v1/status", *at_name, *servers, **from_lan)[0] == 401
    mode = ["-X", "PUT", "-H", "Content-Type: application/json", "-d", '{"mode": "auto"}']
    assert reached.over_tls("/v1/kill-switch/mode", *at_name, *ours, *mode, **from_lan)[0] == 200
    # The exchange begins anew: a page of another origin cannot use the certificate that a browser sends by itself.
    assert reached.over_tls("/v1/status", *at_name, *ours, "-H", "Origin: https://evil.example", **from_lan)[0] == 403


class Clients:
    """A certificate authority of openssl's, and certificates of clients that it made. Everything in FOLDER."""

    CONFIGURATION = """
[ca]
default_ca = this
[this]
database = {folder}/index
new_certs_dir = {folder}
certificate = {folder}/ca.pem
private_key = {folder}/ca.key
rand_serial = yes
default_md = sha256
policy = any
copy_extensions = copy
[any]
commonName = supplied
"""

    def __init__(self, lab, folder):
        self.lab, self.folder = lab, folder
        os.makedirs(folder)
        open(f"{folder}/index", "w").close()
        with open(f"{folder}/ca.conf", "w", encoding="utf-8") as file:
            file.write(self.CONFIGURATION.format(folder=folder))
        self._openssl("req", "-x509", "-subj", "/CN=authority", *self._key("ca"), "-out", f"{folder}/ca.pem", "-days", "1",
                      "-addext", "basicConstraints=critical,CA:TRUE")

    def _openssl(self, *arguments):
        self.lab.run(["openssl", *arguments])

    def _key(self, name):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{self.folder}/{name}.key"]

    def issue(self, name, san=None, purpose="clientAuth", days=(-1, 1)):
        """curl's options for a certificate of CN=NAME that is valid from DAYS[0] to DAYS[1] from now."""
        begin, end = (f"{datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=day):%Y%m%d%H%M%SZ}" for day in days)
        path = f"{self.folder}/{name}"
        extensions = [f"extendedKeyUsage={purpose}"] + ([f"subjectAltName={san}"] if san else [])
        self._openssl("req", "-new", "-subj", f"/CN={name}", *self._key(name), "-out", f"{path}.csr",
                      *[word for extension in extensions for word in ("-addext", extension)])
        self._openssl("ca", "-batch", "-config", f"{self.folder}/ca.conf", "-in", f"{path}.csr", "-out", f"{path}.pem", "-startdate", begin, "-enddate", end)
        return ["--cert", f"{path}.pem", "--key", f"{path}.key"]


NAMES = ("DNS:fleet.example", "email:ops@example.org", "URI:spiffe://example.org/fleet")


def test_certificates_of_clients(lab):
    """a client's certificate opens what its subject or an alternative name has a row for; one of another CA, of another time or purpose, or
    whose row was taken away opens nothing"""
    reached = Reached(lab, PLAIN)
    reached.init()
    clients, others = Clients(lab, f"{reached.tls}/clients"), Clients(lab, f"{reached.tls}/others")
    rows = [{"san": name, "scope": "read"} for name in NAMES] + [{"subject": "CN=fleet", "scope": "read"}]
    api = {"listen": [{"address": f"127.0.0.1:{PORT}", "tls": True}], "tls": reached.files(clientCa=f"{clients.folder}/ca.pem"), "clients": rows}
    reached.write(api)
    daemon = reached.daemon.start()
    good = [clients.issue("fleet")] + [clients.issue(f"by{number}", f"DNS:first.example,{name}") for number, name in enumerate(NAMES)]
    for certificate in good:
        assert reached.over_tls("/v1/status", *certificate)[0] == 200, certificate
    for certificate in (
        clients.issue("stranger"),
        clients.issue("wrong-name", "DNS:other.example,email:fleet.example,URI:DNS:fleet.example"),
        clients.issue("below", "DNS:a.fleet.example"),
        clients.issue("any", "DNS:*.example"),
        clients.issue("expired", NAMES[0], days=(-2, -1)),
        clients.issue("early", NAMES[0], days=(1, 2)),
        clients.issue("server", NAMES[0], purpose="serverAuth"),
        others.issue("fleet", NAMES[0]),
    ):
        assert reached.over_tls("/v1/status", *certificate)[0] == 401, certificate
    reached.write(api | {"clients": rows[1:]})
    daemon.process.send(signal.SIGHUP)
    daemon.process.wait_log("reloading the documents")
    daemon.api.status()
    assert [reached.over_tls("/v1/status", *certificate)[0] for certificate in good] == [200, 401, 200, 200]


def read_to_end(connection):
    """What comes until the other side ends CONNECTION."""
    came = b""
    try:
        while piece := connection.recv(4096):
            came += piece
    except (ConnectionResetError, ssl.SSLEOFError):
        pass
    return came


def trickle(connection, message):
    """Sends MESSAGE a byte at a time; fails if it was sent to its end before the other side ended CONNECTION."""
    for byte in message:
        if select.select([connection], [], [], 0.05)[0]:
            return
        try:
            connection.send(bytes([byte]))
        except (BrokenPipeError, ConnectionResetError):
            return
    raise AssertionError("a handshake that trickles goes on")


def test_slow_tls(lab):
    """who begins TLS and says nothing, half a handshake, a byte at a time, or no request after it, loses his connection and holds up nobody"""
    reached = Reached(lab, PLAIN)
    reached.init()
    limits = {"requestTimeout": "5s", "idleTimeout": "1h"}
    reached.write({"listen": [{"address": f"127.0.0.1:{PORT}", "tls": True}], "tls": reached.files(), "limits": limits})
    reached.daemon.start()
    context = ssl.create_default_context(cafile=f"{reached.tls}/ca.pem")
    with lab.net.client.entered():
        silent, half, slow, *shaken = [socket.create_connection(("127.0.0.1", PORT), process.PATIENCE) for _ in range(5)]
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # the beginning of a ClientHello, in a record of 512 bytes
    half.sendall(hello)
    through, begun = [context.wrap_socket(connection, server_hostname="localhost") for connection in shaken]
    begun.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
    assert reached.over_tls("/healthz")[0] == 200
    trickle(slow, hello + bytes(500))
    for connection in (silent, half, through, begun, slow):
        assert b"HTTP" not in read_to_end(connection)
        connection.close()
    assert reached.over_tls("/healthz")[0] == 200


def renegotiate(reached, port):
    """What a client tells that asks the server at PORT to negotiate anew, and then leaves if it still can."""
    client = subprocess.Popen(["openssl", "s_client", "-tls1_2", "-CAfile", f"{reached.tls}/ca.pem", "-connect", f"127.0.0.1:{port}"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=reached.lab.net.client.join)
    client.stdin.write("R\n")  # s_client(1): renegotiate
    client.stdin.flush()
    told = ""
    while not told.endswith(("closed\n", "verify return:1\n")) or "RENEGOTIATING" not in told:
        line = client.stdout.readline()
        assert line, told
        told += line
    client.kill()
    client.communicate()
    return told


def test_renegotiation(lab):
    """a client that asks to negotiate anew, which would cost the daemon a key exchange for a few bytes, loses its connection at once"""
    reached = Reached(lab, PLAIN)
    reached.init()
    reached.write({"listen": [{"address": f"127.0.0.1:{PORT}", "tls": True}], "tls": reached.files()})
    reached.daemon.start()
    willing = subprocess.Popen(["openssl", "s_server", "-tls1_2", "-client_renegotiation", "-accept", f"127.0.0.1:{PORT + 1}",
                                "-cert", f"{reached.tls}/server.pem", "-key", f"{reached.tls}/server.key"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=lab.net.client.join)
    while "ACCEPT" not in (line := willing.stdout.readline()):
        assert line, "s_server ended"
    told = renegotiate(reached, PORT + 1)  # the control: this is how a client is served that may
    willing.kill()
    willing.communicate()
    assert "closed" not in told.partition("RENEGOTIATING")[2], told
    told = renegotiate(reached, PORT)
    assert "Protocol  : TLSv1.2" in told and told.endswith("RENEGOTIATING\nclosed\n"), told
    assert reached.over_tls("/healthz")[0] == 200


def served_certificate(reached):
    done = reached.lab.run(["openssl", "s_client", "-connect", f"127.0.0.1:{PORT}"], input="", check=False)
    return done.stdout.split("-----BEGIN CERTIFICATE-----")[1].split("-----END")[0].strip()


def kept_certificate(folder):
    return open(f"{folder}/server.pem", encoding="utf-8").read().split("-----BEGIN CERTIFICATE-----")[1].split("-----END")[0].strip()


def test_certificate_is_renewed(lab):
    """a renewed certificate is served without a restart, when its files change or on SIGHUP; a stream that is open goes on"""
    reached = Reached(lab, PLAIN)
    reached.init()
    reached.write({"listen": [{"address": f"127.0.0.1:{PORT}", "tls": True}], "tls": reached.files()})
    daemon = reached.daemon.start()
    token = reached.token("read")
    first = kept_certificate(reached.tls)
    assert served_certificate(reached) == first
    stream = subprocess.Popen(
        ["curl", "-sSN", "--cacert", f"{reached.tls}/ca.pem", "-H", f"Authorization: Bearer {token}", "-H", "Accept: text/event-stream",
         f"https://127.0.0.1:{PORT}/v1/events"], stdout=subprocess.PIPE, text=True, preexec_fn=lab.net.client.join)
    assert stream.stdout.readline().startswith("retry:")
    reached.init(f"{reached.tls}2")
    for name in ("server.key", "server.pem"):  # half a renewal is none
        os.rename(f"{reached.tls}2/{name}", f"{reached.tls}/{name}")
    second = kept_certificate(reached.tls)
    assert second != first
    daemon.process.wait_log("read again")
    assert served_certificate(reached) == second
    daemon.api.mode("always")
    line = stream.stdout.readline()
    while "modeChanged" not in line:
        assert line, "the stream ended"
        line = stream.stdout.readline()
    stream.kill()
    stream.wait()
    with open(f"{reached.tls}/server.key", "w", encoding="utf-8") as file:
        file.write("no key")
    kept = daemon.process.log().count("the former certificate is kept")
    daemon.process.send(signal.SIGHUP)
    daemon.process.wait_log("the former certificate is kept", kept + 1)
    assert served_certificate(reached) == second
    assert reached.daemon.run("--check").returncode == 1


def test_listeners_follow_the_file(lab):
    """SIGHUP opens and closes ports as holdfast.json says; one with an error changes nothing"""
    reached = Reached(lab, {})
    daemon = reached.daemon.start()
    assert reached.curl("/healthz")[0] == 0

    def reload(api):
        reached.write(api)
        before = daemon.process.log().count("reloading the documents")
        daemon.process.send(signal.SIGHUP)
        daemon.process.wait_log("reloading the documents", before + 1)
        daemon.api.status()

    reload(PLAIN)
    assert reached.curl("/healthz")[0] == 200
    reload({"listen": [{"address": "nowhere"}]})
    assert reached.curl("/healthz")[0] == 200
    assert "/api/listen/0/address" in daemon.api.status()["documentErrors"]
    reload({})
    assert reached.curl("/healthz")[0] == 0
