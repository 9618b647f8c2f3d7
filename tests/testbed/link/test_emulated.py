"""Emulated links with real TCP: what they do, and that nothing of them stays."""

import multiprocessing
import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from calibration.links import LINKS, Link
from solver.inputs import InputError
from testbed.cli import main
from testbed.client.exchange import Server
from testbed.link.emulated import EmulatedLink
from testbed.link.namespaces import unusable_reason
from testbed.link.probe import LinkCheck, LinkFigures, check, failures
from tests.testbed.client.world import Shop, serving

REASON = unusable_reason()
SLOW = Link("slow", 0.06, 2e6, 4e6, "for the tests")
methods = pytest.mark.parametrize(
    "method",
    ["relay", pytest.param("tun", marks=pytest.mark.skipif(bool(REASON), reason=str(REASON)))],
)


def descendants():
    """Processes that this one started."""
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    return path.read_text().split() if path.exists() else []


@methods
def test_a_link_has_the_round_trip_and_the_rates_that_were_set(method):
    before = descendants()
    with EmulatedLink(SLOW, method) as link:
        told = check(link)
    measured = told.measured
    # this machine is shared by other tests: the benchmark has the narrow limits
    assert abs(measured.round_trip - SLOW.round_trip) < 0.05
    assert measured.up == pytest.approx(SLOW.up, rel=0.4)
    assert measured.down == pytest.approx(SLOW.down, rel=0.4)
    assert told.method == method and LinkCheck.from_dict(told.to_dict()) == told
    assert descendants() == before


@methods
def test_requests_go_over_the_link(method):
    shop = Shop()
    shop.models = ["x" * 20_000]
    with serving(shop) as (url, _), EmulatedLink(SLOW, method) as link:
        host = Server(url).address
        behind = Server(url, link.connect, link.forward(host))
        near = Server(url).exchange("GET", "/v1/models")
        far = behind.exchange("GET", "/v1/models")
    assert far.body == near.body
    # two round trips, and 20 kB at 4 Mbit/s; packets wait for a third, by slow start
    least = 2 * SLOW.round_trip + 8 * 20_000 / SLOW.down
    assert far.connect + far.send + far.wait + far.receive > least - 0.005
    if method == "tun":
        assert far.round_trip == pytest.approx(SLOW.round_trip, abs=0.03)
        assert far.receive > SLOW.round_trip


def test_what_is_off_is_said():
    asked = LinkFigures(0.02, 10e6, 50e6)
    assert failures(asked, LinkFigures(0.0213, 10.7e6, 47e6)) == ()
    assert len(failures(asked, LinkFigures(0.0215, 10.9e6, 45e6))) == 3
    assert "round trip" in failures(asked, LinkFigures(0.018, 10e6, 50e6))[0]


def _open(method, told):
    """Open a link with both of its processes, say which they are, and after an interrupt how they
    ended.
    """
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    link = EmulatedLink(LINKS["lte"], method)
    link.forward(("127.0.0.1", 1))
    try:
        told.send([process.pid for process in link._processes])
        time.sleep(60)
    except KeyboardInterrupt:
        time.sleep(0.2)
        told.send([process.poll() for process in link._processes])


def _opened(method):
    """A process with a link, first of a group of its own, what it tells, and its processes' ids."""
    fork = multiprocessing.get_context("fork")
    heard, told = fork.Pipe(duplex=False)
    process = fork.Process(target=_open, args=(method, told))
    process.start()
    told.close()
    pids = heard.recv()
    assert pids and all(_runs(pid) for pid in pids)
    return process, heard, pids


def _end(pids):
    deadline = time.monotonic() + 5
    while any(map(_runs, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(_runs, pids))


@pytest.mark.skipif(bool(REASON), reason=str(REASON))
def test_a_killed_process_leaves_neither_namespaces_nor_processes():
    process, _, pids = _opened("tun")
    assert len(pids) == 2
    namespaces = {os.readlink(f"/proc/{pid}/ns/net") for pid in pids}
    assert namespaces == {os.readlink("/proc/self/ns/net")}  # they only hold descriptors of others
    process.kill()
    process.join()
    _end(pids)


@methods
def test_an_interrupt_of_the_terminal_leaves_the_link_to_who_uses_it(method):
    """It goes to the whole group of processes."""
    process, heard, pids = _opened(method)
    os.killpg(process.pid, signal.SIGINT)
    assert heard.recv() == [None] * len(pids)
    process.join()
    _end(pids)


def _runs(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_without_root_streams_are_relayed_and_the_reason_is_said(monkeypatch):
    monkeypatch.setattr("testbed.link.emulated.unusable_reason", lambda: "no root")
    with EmulatedLink(SLOW) as link:
        assert (link.method, link.note) == ("relay", "no root")
    with pytest.raises(InputError, match="no root; allowed here: relay"):
        EmulatedLink(SLOW, "tun")


@methods
def test_a_command_runs_behind_the_link(method, capfd):
    with serving() as (url, _):
        code = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).status)"
        command = [sys.executable, "-c", code, "{url}/v1/models"]
        assert main(["link", "--method", method, "--to", url, "wifi", "--", *command]) == 0
        said = capfd.readouterr()
        assert said.out == "200\n" and f"link wifi, emulated by {method}: " in said.err
        failing = [sys.executable, "-c", "raise SystemExit(7)"]
        assert main(["link", "--method", method, "--to", url, "wifi", "--", *failing]) == 7


def test_presets_are_listed_and_wrong_ones_refused(capsys):
    assert main(["link"]) == 0
    assert capsys.readouterr().out.count("\n") == len(LINKS)
    assert main(["link", "wifi", "--to", "http://a"]) == 2
    assert "options before it" in capsys.readouterr().err
    assert main(["link", "3g"]) == 2
    assert f"PRESET: found '3g'; allowed: {', '.join(LINKS)}" in capsys.readouterr().err


def test_a_port_that_is_not_served_is_seen_by_the_client():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with EmulatedLink(SLOW, "relay") as link:
        address = link.forward(("127.0.0.1", port))
        with link.connect(address, 5.0) as connection:
            connection.settimeout(5.0)
            assert connection.recv(1) == b""
