"""fetch against a real HTTP server: answers, failures, retries, private addresses, redirects, size and time."""

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from flowctl.engine import web
from flowctl.engine.apply import apply
from flowctl.engine.runtime import Experiment
from flowctl.engine.web import Service, Unfetched, get_json, is_public
from flowctl.failure import ProblemsFound
from flowctl.project.load import load_texts
from tests.engine.world import MESSAGES, SETTINGS, World, at, refusals, workflow

FETCH = (
    "fetch: {service: shop, path: '/reco/{{ contact.key }}?name={{ contact.first_name }}', save_as: reco, on_error: %s}"
)
STEPS = f"- {FETCH % 'exit'}\n- if: {{data: {{reco.count: {{gt: 1}}}}}}\n  then: [{{set: {{first_name: '{{{{ data.reco.title }}}}'}}}}]\n- wait: 1d"


class Site:
    """An HTTP server that answers as a function of the path says: (status, headers, body)."""

    def __init__(self):
        self.asked = []
        self.answer = lambda _path: (200, {}, b"{}")
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                site.asked.append((self.path, dict(self.headers)))
                status, headers, body = site.answer(self.path)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    @property
    def paths(self):
        return [path for path, _ in self.asked]


@pytest.fixture
def site():
    made = Site()
    yield made
    made.close()


def world_of(site, steps=STEPS, people="ana", private="true", retries=1, **service):
    more = "".join(f", {key}: {value}" for key, value in service.items())
    settings = (
        SETTINGS
        + f"services: {{shop: {{url: '{site.url}', private: {private}, retries: {retries}, timeout: 2s{more}}}}}\n"
    )
    world = World(workflow("w", steps=steps), settings=settings)
    for key in people.split():
        world.contact(key, first_name=key.title())
        world.event(key, "signup", at("1m"))
    return world


def test_an_answer_is_data_for_conditions_and_templates(site, monkeypatch):
    monkeypatch.setenv("SHOP_TOKEN", "12345")
    site.answer = lambda path: (200, {}, json.dumps({"count": 2, "title": f"Books for {path[6:9]}"}).encode())
    world = world_of(site, people="ana ben", headers="{Authorization: '${SHOP_TOKEN}'}")
    world.ticks("1m", "1m", "2m")
    assert sorted(site.paths) == ["/reco/ana?name=Ana", "/reco/ben?name=Ben"]
    assert {headers["Authorization"] for _, headers in site.asked} == {"12345"}
    assert world.value("ana", "first_name") == "Books for ana"
    assert [detail["path"] for kind, detail in world.journal("ana") if kind == "fetched"] == ["/reco/ana?name=Ana"]
    assert world.states() == [("active", None)] * 2


def test_values_in_a_path_stay_values(site):
    world = world_of(site)
    world.set("ana", at("30s"), first_name="../x?a=1&b=é/@\r\nX: y")
    world.tick(at("1m"))
    assert site.paths == ["/reco/ana?name=..%2Fx%3Fa%3D1%26b%3D%C3%A9%2F%40%0D%0AX%3A%20y"]


@pytest.mark.parametrize("key", ["..", "."])
def test_a_value_does_not_climb(site, key):
    world = world_of(
        site,
        steps="- fetch: {service: shop, path: '/a/{{ contact.key }}/b', save_as: reco, on_error: continue}",
        people=key,
    )
    world.tick(at("1m"))
    assert site.asked == []
    assert ["climbs" in detail["failed"] for kind, detail in world.journal(key) if kind == "fetched"] == [True]


def test_a_failing_service_is_retried_and_then_on_error_decides(site):
    site.answer = lambda _path: (503, {}, b"busy")
    world = world_of(site)
    world.ticks("1m")
    assert world.states() == [("active", None)]
    world.ticks("1m", "2m", "3m")
    assert len(site.asked) == 2
    assert world.ended("ana") == [("exited", "fetch reco", 2)]
    world = world_of(site, steps=f"- {FETCH % 'continue'}\n- set: {{stage: lead}}", retries=0)
    world.tick(at("1m"))
    assert world.value("ana", "stage") == "lead"
    assert [detail["failed"] for kind, detail in world.journal("ana") if kind == "fetched"] == ["status 503"]


def test_a_service_that_comes_back_serves_who_waited(site):
    answers = iter([(500, {}, b""), (200, {}, b'{"count": 1}')])
    site.answer = lambda _path: next(answers)
    world = world_of(site)
    world.ticks("1m", "2m")
    assert world.states() == [("active", None)]
    assert world.connection.execute("SELECT json_extract(data, '$.reco.count') FROM enrollments").fetchone() == (1,)


def test_a_service_that_is_down_is_not_asked_for_everybody(site):
    site.answer = lambda _path: (500, {}, b"")
    people = " ".join(f"p{number}" for number in range(150))
    world = world_of(site, people=people, retries=0)
    world.tick(at("1m"))
    assert len(site.asked) <= 64
    assert {state for state, _ in world.states()} == {"exited"}


def test_who_left_meanwhile_is_not_asked_for(site):
    site.answer = lambda _path: (500, {}, b"")
    world = World(
        workflow("w", steps=STEPS, exit_when="[{event: purchase}]"),
        settings=SETTINGS + f"services: {{shop: {{url: '{site.url}', private: true}}}}\n",
    )
    world.contact("ana", first_name="Ana")
    world.event("ana", "signup", at("1m"))
    world.tick(at("1m"))
    world.event("ana", "purchase", at("90s"))
    world.ticks("2m", "9m")
    assert len(site.asked) == 1
    assert world.connection.execute("SELECT state FROM fetches").fetchall() == [(3,)]


def test_no_transaction_is_open_while_the_service_is_asked(site, tmp_path):
    settings = SETTINGS + f"services: {{shop: {{url: '{site.url}', private: true}}}}\n"
    world = World(workflow("w", steps=STEPS), settings=settings, path=tmp_path / "store.db")
    world.contact("ana", first_name="Ana")
    world.event("ana", "signup", at("1m"))
    free = []
    site.answer = lambda _path: free.append(world.connection.in_transaction) or (200, {}, b"{}")
    world.tick(at("1m"))
    assert free == [False]


def test_a_paused_workflow_asks_nothing(site):
    site.answer = lambda _path: (500, {}, b"")
    world = world_of(site)
    world.tick(at("1m"))
    world.connection.execute("UPDATE workflow_states SET by_hand = 'paused'")
    world.ticks("5m", "9m")
    assert len(site.asked) == 1


# ------------------------------------------------------------------------------------------------------------------ tests


def sampled(site, **more):
    files = {
        "flowctl.yaml": SETTINGS + f"services: {{shop: {{url: '{site.url}', private: true}}}}\n",
        "messages.yaml": MESSAGES,
        "flows/w.yaml": workflow("w", steps=STEPS.replace("save_as: reco", "save_as: reco, sample: reco.json")),
        "flows/reco.json": '{"count": 3, "title": "Sample"}',
        **more,
    }
    return load_texts(files, None)


def test_an_experiment_takes_the_sample_and_never_the_network(site):
    made = sampled(site)
    assert not made.errors
    for said, name, state in (
        ({}, "Sample", "active"),
        ({"shop": {"count": 9, "title": "Own"}}, "Own", "active"),
        ({"shop": None}, "Ana", "exited"),
    ):
        world = World(settings=SETTINGS)
        apply(world.store, made, commit="x", now=world.now)
        world.contact("ana", first_name="Ana")
        world.event("ana", "signup", at("1m"))
        world.tick(at("1m"), experiment=Experiment(fetches=said))
        assert world.value("ana", "first_name") == name
        assert [each for each, _ in world.states()] == [state]
    assert site.asked == []


def test_an_experiment_on_a_store_where_somebody_waits_takes_the_sample(site):
    site.answer = lambda _path: (500, {}, b"")
    world = World(settings=SETTINGS)
    apply(world.store, sampled(site), commit="x", now=world.now)
    world.contact("ana", first_name="Ana")
    world.event("ana", "signup", at("1m"))
    world.tick(at("1m"))
    world.tick(at("2m"), experiment=Experiment())
    assert world.value("ana", "first_name") == "Sample"
    assert len(site.asked) == 1


def test_apply_refuses_a_sample_that_is_no_json_and_a_path_without_slash(site):
    world = World(settings=SETTINGS)
    with pytest.raises(ProblemsFound) as refused:
        apply(world.store, sampled(site, **{"flows/reco.json": "{"}), commit="x", now=world.now)
    assert "is no JSON" in refused.value.problems[0].message
    steps = "- fetch: {service: shop, path: '@evil.example/x', save_as: reco}"
    settings = SETTINGS + "services: {shop: {url: 'https://shop.example'}}\n"
    assert "starts with /" in refusals(workflow("w", steps=steps), settings=settings)[0]
    steps = "- fetch: {service: shop, path: '/{{ contact.key|urlencode }}', save_as: reco}"
    assert "percent-encoded already" in refusals(workflow("w", steps=steps), settings=settings)[0]


# -------------------------------------------------------------------------------------------------------------- one GET


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "169.254.169.254",
     "10.0.0.1", "192.168.1.1", "[fe80::1]", "[fc00::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "100.64.0.1"],
)  # fmt: skip
def test_private_addresses_are_refused_in_every_spelling(site, host):
    with pytest.raises(Unfetched, match=r"private address|no connection") as refused:
        get_json(Service(url=f"http://{host}:{site.port}", timeout_s=1), "/x")
    assert site.asked == []
    assert "127.0.0.1:" not in str(refused.value)


def test_public_addresses_are_public():
    assert all(map(is_public, ["1.1.1.1", "2606:4700::1111"]))
    assert not any(map(is_public, ["224.0.0.1", "ff02::1", "240.0.0.1", "::", "::ffff:10.0.0.1"]))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com",
        "file:///etc/passwd",
        "http://user:pw@example.com",
        "http://",
        "http://[::1",
        "http://a:b",
        "x",
    ],
)
def test_odd_addresses_are_refused(url):
    with pytest.raises(Unfetched) as refused:
        get_json(Service(url=url), "/x")
    assert not refused.value.again


def test_redirects_are_judged_again_and_secrets_stay(site, monkeypatch):
    other = Site()
    try:
        other.answer = lambda _path: (200, {}, b"[1]")
        site.answer = lambda _path: (302, {"Location": f"{other.url}/there"}, b"")
        service = Service(url=site.url, headers={"Authorization": "secret"}, private=True)
        assert get_json(service, "/x") == "[1]"
        assert "Authorization" in site.asked[0][1]
        assert "Authorization" not in other.asked[0][1]
        # The first host counts as public here, the second one as private.
        seen = iter([True, False])
        monkeypatch.setattr(web, "is_public", lambda _address: next(seen))
        with pytest.raises(Unfetched, match="private address"):
            get_json(Service(url=site.url), "/x")
        assert len(other.asked) == 1
    finally:
        other.close()


def test_redirects_end(site):
    site.answer = lambda _path: (302, {"Location": "/again"}, b"")
    with pytest.raises(Unfetched, match="redirects"):
        get_json(Service(url=site.url, private=True), "/x")
    assert len(site.asked) == web.REDIRECTS_MAX + 1


@pytest.mark.parametrize(
    ("answer", "reason", "again"),
    [
        ((404, {}, b"{}"), "status 404", False),
        ((429, {}, b"{}"), "status 429", True),
        ((200, {}, b"<html>"), "no JSON", False),
        ((200, {}, b"NaN"), "no JSON", False),
        ((200, {}, b"\xff"), "no JSON", False),
        ((200, {}, b"[" * 2_000 + b"]" * 2_000), "JSON|deeply", False),
        ((200, {}, b'"' + b"x" * 300_000 + b'"'), "longer than 256 KiB", False),
        ((302, {"Location": "ftp://example.com/"}, b""), "no http", False),
    ],
)
def test_what_is_no_answer(site, answer, reason, again):
    site.answer = lambda _path: answer
    with pytest.raises(Unfetched, match=reason) as refused:
        get_json(Service(url=site.url, private=True), "/x")
    assert refused.value.again is again


def test_the_time_out_holds_for_the_whole_answer():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip():
            line, _ = server.accept()
            with line:
                line.recv(1000)
                line.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                for _ in range(30):
                    try:
                        line.sendall(b" ")
                    except OSError:
                        return
                    time.sleep(0.1)

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        begun = time.monotonic()
        with pytest.raises(Unfetched) as refused:
            get_json(Service(url=f"http://127.0.0.1:{server.getsockname()[1]}", private=True, timeout_s=0.4), "/x")
        assert refused.value.again
        assert time.monotonic() - begun < 2
        thread.join()


def test_a_closed_port_is_asked_again():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(Unfetched, match="no connection") as refused:
        get_json(Service(url=f"http://127.0.0.1:{port}", private=True), "/x")
    assert refused.value.again


def test_a_tick_stops_asking_when_its_time_is_up(site):
    from flowctl.engine.fetching import fetch_waiting
    from flowctl.engine.runtime import load

    site.answer = lambda _path: (500, {}, b"")
    world = world_of(site)
    world.tick(at("1m"))
    assert fetch_waiting(world.connection, load(world.connection), at("9m"), until_s=time.monotonic()) == 0
    assert len(site.asked) == 1


def test_a_sample_serves_the_preview_and_a_dry_run_asks_nobody(site, tmp_path, monkeypatch, capsys):
    from flowctl.cli.main import main

    monkeypatch.setenv("FLOWCTL_NOW", "2026-03-02T10:05:00Z")
    message = "message: ideas\nemail: {from: shop, subject: '{{ data.reco.title }}', text: x}\npurpose: transactional\n"
    for path, text in {
        **sampled(site).sources,
        "flows/reco.json": '{"title": "Sample"}',
        "ideas.yaml": message,
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)

    def flowctl(*said):
        status = main(["-C", str(tmp_path), *said])
        return status, capsys.readouterr().out

    assert flowctl("apply", "--yes", "--allow-dirty")[0] == 0
    (tmp_path / "ana.csv").write_text("key,email,first_name\nana,ana@example.com,Ana\n")
    assert flowctl("contacts", "import", "ana.csv")[0] == 0
    assert flowctl("events", "add", "signup", "--contact", "ana")[0] == 0
    assert "Sample" in flowctl("messages", "render", "ideas", "--contact", "ana")[1]
    site.answer = lambda _path: (200, {}, b'{"title": "Real"}')
    assert flowctl("tick", "--dry-run")[0] == 0
    assert site.asked == []
    assert flowctl("tick")[0] == 0
    assert site.paths == ["/reco/ana?name=Ana"]
