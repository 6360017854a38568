"""What `fetch` may be led to: private addresses in every spelling, names that resolve to them, redirects, rebinding, values in a path."""

import contextlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from flowctl.channels import wire
from flowctl.channels.wire import is_public
from flowctl.engine.web import Service, Unfetched, get_json

PRIVATE = """
127.0.0.1 127.255.255.254 0.0.0.0 0.1.2.3 10.0.0.1 172.16.0.1 172.31.255.255 192.168.0.1 169.254.169.254 169.254.170.2
100.64.0.1 100.127.255.255 192.0.0.1 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1 192.88.99.1 224.0.0.1 239.255.255.255
240.0.0.1 255.255.255.255
:: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0:127.0.0.1 fe80::1 fe80::1%eth0 fec0::1
febf::1 fc00::1 fd00:ec2::254 ff02::1 ff0e::1 2001:db8::1 3fff::1 100::1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::7f00:1
2002:7f00:1:: 2002:a9fe:a9fe:: 2002:0a00:0001::1 2001:0:7f00:1:: 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001::1
""".split()  # noqa: SIM905 - a list of seventy lines otherwise
PUBLIC = "1.1.1.1 8.8.8.8 172.15.0.1 172.32.0.1 100.63.255.255 100.128.0.1 2606:4700::1111 64:ff9b::808:808 2002:808:808::1".split()  # noqa: SIM905


@pytest.mark.parametrize("address", PRIVATE)
def test_not_of_the_open_internet(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_of_the_open_internet(address):
    assert is_public(address)


class Site:
    """An HTTP server on the loopback that counts who comes."""

    def __init__(self):
        self.asked = []
        self.location = ""
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                site.asked.append((self.headers["Host"], self.path, dict(self.headers)))
                self.send_response(302 if site.location else 200)
                if site.location:
                    self.send_header("Location", site.location)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@pytest.fixture
def site():
    made = Site()
    yield made
    made.server.shutdown()
    made.server.server_close()


class Resolver:
    """`socket.getaddrinfo` with names of its own; literal addresses are as ever."""

    def __init__(self, monkeypatch, **names):
        self.asked = []
        self.names = {name.replace("_", "."): list(answers) for name, answers in names.items()}
        real = socket.getaddrinfo

        def getaddrinfo(host, port, *rest, **more):
            name = host if isinstance(host, str) else host.decode()
            if name not in self.names:
                return real(host, port, *rest, **more)
            self.asked.append(name)
            answers = self.names[name]
            found = answers.pop(0) if len(answers) > 1 else answers[0]
            return [
                (socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
                for each in found.split()
            ]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


SPELLINGS = [
    "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0x7f.0.0.0x1", "017700000001", "0177.0.0.1", "0177.1",
    "localhost", "LOCALHOST", "localhost.", "127.0.0.1.", "0", "0.0.0.0", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1]", "[fc00::1]", "[fec0::1]",
    "169.254.169.254", "100.64.0.1", "①②⑦.⓪.⓪.①", "\uff11\uff12\uff17.\uff10.\uff10.\uff11", "127。0。0。1", "ⓛocalhost",
]  # fmt: skip


@pytest.mark.parametrize("host", SPELLINGS)
def test_the_loopback_in_every_spelling(site, host):
    with pytest.raises(Unfetched, match=r"private address|no connection|is no name|no http|address is none"):
        get_json(Service(url=f"http://{host}:{site.port}", timeout_s=1), "/x")
    assert site.asked == []


def test_a_name_of_which_one_address_is_private(site, monkeypatch):
    Resolver(
        monkeypatch, mixed_example=["1.1.1.1 127.0.0.1"], nip_example=["10.0.0.1"], six_example=["::ffff:127.0.0.1"]
    )
    for host in ("mixed.example", "nip.example", "six.example"):
        with pytest.raises(Unfetched, match="private address"):
            get_json(Service(url=f"http://{host}:{site.port}", timeout_s=1), "/x")
    assert site.asked == []


def test_a_name_is_resolved_once_and_that_address_is_asked(site, monkeypatch):
    """Rebinding: the second answer would be another address."""
    resolver = Resolver(monkeypatch, rebind_example=["127.0.0.1", "169.254.169.254"])
    assert get_json(Service(url=f"http://rebind.example:{site.port}", timeout_s=2, private=True), "/x") == "{}"
    assert resolver.asked == ["rebind.example"]
    assert site.asked[0][:2] == (f"rebind.example:{site.port}", "/x")
    dialled = []
    monkeypatch.setattr(
        socket,
        "create_connection",
        lambda address, **_: dialled.append(address) or (_ for _ in ()).throw(OSError("no")),
    )
    resolver = Resolver(monkeypatch, rebind_example=["1.1.1.1", "127.0.0.1"])
    with pytest.raises(Unfetched, match="no connection"):
        get_json(Service(url=f"http://rebind.example:{site.port}", timeout_s=1), "/x")
    assert resolver.asked == ["rebind.example"]
    assert dialled == [("1.1.1.1", site.port)]


REDIRECTS = [
    "http://127.0.0.1:{port}/in", "//127.0.0.1:{port}/in", "http://localhost:{port}/in", "http://[::ffff:127.0.0.1]:{port}/in",
    "http://0x7f.1:{port}/in", "http://public.example@127.0.0.1:{port}/in", "http://127.0.0.1:{port}\\@public.example/in",
    "http:\\\\127.0.0.1:{port}\\in", "http://nip.example:{port}/in", "http:127.0.0.1:{port}/in", "file:///etc/passwd", "gopher://127.0.0.1:{port}/_x",
    "ftp://127.0.0.1/", "http://", "http://[", "\thttp://127.0.0.1:{port}/in",
]  # fmt: skip


@pytest.mark.parametrize("location", REDIRECTS)
def test_a_redirect_is_judged_like_the_first_address(site, monkeypatch, location):
    """The site counts as public under its own name alone; what it leads to does not."""
    Resolver(monkeypatch, public_example=["192.0.2.77"], nip_example=["127.0.0.1"])
    real = socket.create_connection

    def connect(address, **more):
        assert address[0] == "192.0.2.77"
        return real(("127.0.0.1", site.port), **more)

    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr("flowctl.engine.web.is_public", lambda address: address == "192.0.2.77" or is_public(address))
    site.location = location.replace("{port}", str(site.port))
    with pytest.raises(Unfetched):
        get_json(
            Service(url=f"http://public.example:{site.port}", headers={"Authorization": "s3cret"}, timeout_s=1), "/out"
        )
    assert {host for host, _, _ in site.asked} == {f"public.example:{site.port}"}


@pytest.mark.parametrize(
    "path",
    ["//evil.example/x", "/\\evil.example", "@evil.example", "\\evil.example", "/x\r\nHost: evil.example\r\n\r\nGET /y", "/x\u2028Host: evil", "/é\u0000",
     "/../x", "/a/../../x", "/./x", "http://evil.example/", "/x HTTP/1.1\r\n", "/x#@evil.example", "/x\t\ny", ""],
)  # fmt: skip
def test_a_value_in_a_path_stays_in_the_path(site, path):
    with contextlib.suppress(Unfetched):
        get_json(Service(url=f"http://127.0.0.1:{site.port}", timeout_s=2, private=True), path)
    if not site.asked:
        return
    ((host, asked, headers),) = site.asked
    assert host == f"127.0.0.1:{site.port}"
    assert asked.startswith("/") and not asked.startswith("//")  # noqa: PT018 - one statement on one value
    assert asked.isascii() and " " not in asked and "\\" not in asked  # noqa: PT018
    assert "evil" not in " ".join(name for name in headers)


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0b", "é\u2028"])
def test_a_header_that_would_be_two_is_refused(site, value):
    with pytest.raises(Unfetched, match="characters that HTTP does not allow"):
        get_json(
            Service(url=f"http://127.0.0.1:{site.port}", headers={"X-Token": value}, timeout_s=1, private=True), "/x"
        )
    assert site.asked == []


@pytest.mark.parametrize("proxy", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_no_proxy_of_the_environment_resolves_in_our_place(site, monkeypatch, proxy):
    monkeypatch.setenv(proxy, f"http://127.0.0.1:{site.port}")
    with pytest.raises(Unfetched, match="private address"):
        get_json(Service(url="http://169.254.169.254", timeout_s=1), "/latest/meta-data")
    assert site.asked == []


def test_the_secret_is_in_no_reason(site):
    service = Service(url=f"http://127.0.0.1:{site.port}", headers={"Authorization": "s3cret\n"}, private=True)
    with pytest.raises(Unfetched) as fault:
        get_json(service, "/x")
    assert "s3cret" not in f"{fault.value}{service!r}{fault.value.__context__!r}"


def test_the_judgement_is_of_what_is_dialled():
    """`split` and `dial` read the host alike."""
    parts = wire.split("http://Example.COM:8080/x")
    assert wire.origin(parts) == ("http", "example.com", 8080)
    for url in ("http://a@b/", "http://:80/", "http://a:0/", "http://a:99999/", "https:///x", "javascript:1"):
        with pytest.raises(wire.NoAddress):
            wire.split(url)
