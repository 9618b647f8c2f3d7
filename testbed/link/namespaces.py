"""Network namespaces that live as long as their file descriptors, so a killed process leaves none.

Linux, root, and the command ``ip`` (iproute2) are needed; :func:`unusable_reason` says what is not
there. A namespace is entered by a thread: sockets that it opens meanwhile belong to the namespace,
and stay there when the thread has left; so do processes that it starts.
"""

import ctypes
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import get_native_id

_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_TUN, _NO_PACKET_INFO = 0x0001, 0x1000
_DEVICE = "link0"
#: The addresses of a link's two ends.
USER, EDGE = "10.77.0.1", "10.77.0.2"


def unusable_reason() -> str | None:
    """Why no namespaces can be had here, in one line; None if they can."""
    if sys.platform != "linux":
        return f"network namespaces are Linux's, this is {sys.platform}"
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    if not Path("/dev/net/tun").exists():
        return "/dev/net/tun is missing"
    if shutil.which("ip") is None:
        return "the command ip (iproute2) is missing"
    try:
        trial = Namespace.new()
        try:
            os.close(trial.open_tun(USER, EDGE))
        finally:
            trial.close()
    except OSError as error:
        return f"network namespaces cannot be made: {error.strerror}"
    except subprocess.CalledProcessError as error:
        said = " ".join(error.stderr.decode("utf-8", "replace").split())
        return f"ip cannot set up a TUN device: {said[:200]}"
    return None


@dataclass(frozen=True)
class Namespace:
    """A network namespace, held by the descriptor ``fd``."""

    fd: int

    @classmethod
    def new(cls) -> "Namespace":
        """A new one, empty but for its loopback. Raises OSError where that is not allowed."""
        own = _current()
        try:
            _call("unshare", _CLONE_NEWNET)
            return cls(_current())
        finally:
            _call("setns", own, _CLONE_NEWNET)
            os.close(own)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread in the namespace."""
        own = _current()
        try:
            _call("setns", self.fd, _CLONE_NEWNET)
            yield
        finally:
            _call("setns", own, _CLONE_NEWNET)
            os.close(own)

    def open_tun(self, address: str, peer: str) -> int:
        """A TUN device with ``address`` whose other end is ``peer``; returns its descriptor, from
        which packets are read that are sent to ``peer``.
        """
        import fcntl  # which only some systems have

        with self.entered():
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            try:
                request = struct.pack("16sH", _DEVICE.encode(), _TUN | _NO_PACKET_INFO)
                fcntl.ioctl(fd, _TUNSETIFF, request.ljust(40, b"\0"))
                for command in (
                    ("link", "set", "lo", "up"),
                    ("addr", "add", address, "peer", peer, "dev", _DEVICE),
                    ("link", "set", _DEVICE, "addrgenmode", "none"),  # no IPv6 chatter
                    ("link", "set", _DEVICE, "txqueuelen", "10000"),
                    ("link", "set", _DEVICE, "up"),
                ):
                    subprocess.run(["ip", *command], check=True, capture_output=True)
            except BaseException:
                os.close(fd)
                raise
        return fd

    def close(self) -> None:
        """Let go of it; it ends with its last socket."""
        os.close(self.fd)


def _current() -> int:
    return os.open(f"/proc/self/task/{get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _call(name: str, *arguments: int) -> None:
    """A call of libc's: os.setns and os.unshare came with Python 3.12."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
