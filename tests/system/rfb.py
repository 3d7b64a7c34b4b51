"""A client of Bochs's display `rfb` (RFC 6143, "The Remote Framebuffer Protocol"): types at the machine's keyboard.

    machine = boot(iso, extra=(DISPLAY,))
    with Rfb(machine) as display:
        display.type("hello\\n")

screen.py adds the pictures.
"""
from __future__ import annotations

import re
import socket
import struct
import threading
import time

from emulator import Bochs

DISPLAY = 'display_library: rfb, options="timeout=0"'

SECURITY_NONE = 1
CLIENT_INIT_SHARED = b"\x01"
SERVER_INIT = struct.Struct(">HH16sI")  # width, height, pixel format, length of the name
KEY_EVENT = struct.Struct(">BBxxI")
KEY_EVENT_TYPE = 4

# X Window System keysyms
NAMED = {"BackSpace": 0xFF08, "Tab": 0xFF09, "Return": 0xFF0D, "Escape": 0xFF1B, "Home": 0xFF50, "Left": 0xFF51, "Up": 0xFF52,
         "Right": 0xFF53, "Down": 0xFF54, "PageUp": 0xFF55, "PageDown": 0xFF56, "End": 0xFF57, "Insert": 0xFF63,
         "Delete": 0xFFFF, "Shift": 0xFFE1, "Control": 0xFFE3, "Alt": 0xFFE9} | {f"F{n}": 0xFFBD + n for n in range(1, 13)}
TYPED = {"\n": ("Return",), "\r": ("Return",), "\t": ("Tab",), "\x1b": ("Escape",), "\x7f": ("BackSpace",)}
SHIFTED = '~!@#$%^&*()_+{}|:"<>?ABCDEFGHIJKLMNOPQRSTUVWXYZ'


class Rfb:
    def __init__(self, machine: Bochs, timeout: float = 10):
        port = self._port(machine, timeout)
        self._socket = socket.create_connection(("127.0.0.1", port), timeout)
        version = self._read(12)
        self._socket.sendall(version)
        (security,) = struct.unpack(">I", self._read(4))
        assert security == SECURITY_NONE
        self._socket.sendall(CLIENT_INIT_SHARED)
        self.width, self.height, _, length = SERVER_INIT.unpack(self._read(SERVER_INIT.size))
        self._read(length)
        self._socket.settimeout(None)
        threading.Thread(target=self._drain, daemon=True).start()

    @staticmethod
    def _port(machine: Bochs, timeout: float) -> int:
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            log = machine.workdir / "bochs.log"
            if log.exists() and (found := re.search(r"listening for connections on port (\d+)", log.read_text(errors="replace"))):
                return int(found[1])
            time.sleep(0.1)
        raise AssertionError("Bochs does not say where its display is")

    def _read(self, n: int) -> bytes:
        data = b""
        while len(data) < n:
            chunk = self._socket.recv(n - len(data))
            assert chunk, "the display has gone"
            data += chunk
        return data

    def _drain(self) -> None:
        """What comes although nobody asks for it."""
        try:
            while self._socket.recv(65536):
                pass
        except OSError:
            pass

    def _event(self, key: str, down: bool) -> None:
        self._socket.sendall(KEY_EVENT.pack(KEY_EVENT_TYPE, down, NAMED.get(key) or ord(key)))

    def press(self, *keys: str) -> None:
        """A chord: each key is a character or one of NAMED."""
        for key in keys:
            self._event(key, True)
        for key in reversed(keys):
            self._event(key, False)

    def type(self, text: str) -> None:
        """Text, on a US keyboard; other control characters with the Control key."""
        for character in text:
            if character in TYPED:
                self.press(*TYPED[character])
            elif character < " ":
                self.press("Control", chr(ord(character) | 0x40).lower())
            else:
                self.press(*(["Shift"] if character in SHIFTED else []), character)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception) -> None:
        self.close()
