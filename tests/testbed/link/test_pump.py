"""The packets' way through the process between the two ends: when each arrives."""

import os
import socket
import threading
import time

import pytest

from testbed.link.pump import HEADERS, QUEUE, Direction, run


@pytest.fixture
def ends():
    """Two pairs of datagram sockets: what goes in at the first comes out at the last."""
    pairs = (
        socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM),
        socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM),
    )
    for pair in pairs:
        for each in pair:
            each.setblocking(False)
    yield pairs[0][0], pairs[0][1].fileno(), pairs[1][0].fileno(), pairs[1][1]
    for pair in pairs:
        for each in pair:
            each.close()


def test_packets_are_late_by_the_delay_and_their_own_time_and_keep_their_order(ends):
    sender, source, sink, receiver = ends
    way = Direction(source, sink, delay=0.5, rate=8000.0)  # 1000 bytes of data a second
    for index in range(3):
        sender.send(bytes([index]) * (HEADERS + 100))
    way.take(10.0)
    assert way.deliver(10.0) == pytest.approx(10.6)
    for index, due in enumerate((10.6, 10.7, 10.8)):
        with pytest.raises(BlockingIOError):
            receiver.recv(2000)
        way.deliver(due - 1e-6)
        with pytest.raises(BlockingIOError):
            receiver.recv(2000)
        way.deliver(due + 1e-6)
        assert receiver.recv(2000)[0] == index
    # an idle link saves no time up
    sender.send(bytes(HEADERS + 100))
    way.take(20.0)
    assert way.deliver(20.0) == pytest.approx(20.6)


def test_headers_are_free_and_more_than_the_queue_holds_is_dropped(ends):
    sender, source, sink, receiver = ends
    way = Direction(source, sink, delay=0.0, rate=8000.0)
    sender.send(bytes(HEADERS))
    way.take(0.0)
    assert way.deliver(1e-9) is None and len(receiver.recv(2000)) == HEADERS
    for _ in range(8):
        sender.send(bytes(HEADERS + 100))
    way.take(1.0)
    count = 0
    way.deliver(100.0)
    while True:
        try:
            receiver.recv(2000)
        except BlockingIOError:
            break
        count += 1
    assert count == 3 and QUEUE == 0.25  # at 0, 0.1 and 0.2 s the queue still has room


def test_a_link_takes_a_delay_from_its_control_and_ends_when_that_is_closed(ends):
    sender, source, sink, receiver = ends
    there, here = os.pipe()
    directions = (Direction(source, sink, 0.05, 1e6),)
    thread = threading.Thread(target=run, args=(directions, there))
    thread.start()
    begin = time.monotonic()
    sender.send(b"x" * 60)
    receiver.setblocking(True)
    assert receiver.recv(2000) == b"x" * 60
    assert 0.05 <= time.monotonic() - begin < 5
    os.write(here, b"9\n0.3\n")
    time.sleep(0.05)
    begin = time.monotonic()
    sender.send(b"y" * 60)
    assert receiver.recv(2000) == b"y" * 60
    assert 0.3 <= time.monotonic() - begin < 5, "the last number is the delay from then on"
    os.close(here)
    thread.join(2)
    os.close(there)
    assert not thread.is_alive()
