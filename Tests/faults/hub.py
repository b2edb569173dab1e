"""The hub under test: its input, its output that can be left unread, its log, and the processes of its stages."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import isolation

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = {"down": "hub-dispatch", "queue": "hub-queue", "wsserve": "hub-wsserve", "keepalive": "hub-keepalive", "up": "hub-dispatch", "certs": "hub-certs"}
READ_AT_ONCE = 256 << 10


class Hub:
    """`hub run` in `directory`. `on_output` gets each line of standard output, `on_log` each line of standard error."""

    def __init__(self, programs, directory, on_output, on_log):
        self.programs, self.directory = Path(programs), Path(directory)
        self.run = self.directory / "run"
        self.state = self.directory / "state" / "queue.db"
        self.receipts = self.directory / "receipts"
        self.on_output, self.on_log = on_output, on_log
        self.process = None
        self.waiting = bytearray()
        self._stalls = 0
        self._parts = {"output": b"", "log": b""}
        self._is_writing = False

    def start(self, options):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
        self.log_file = open(self.directory / "hub.log", "wb")
        self.process = subprocess.Popen(
            [
                ROOT / "bin" / "hub", "run", "--dir", self.directory / "certs", "--state", self.state, "--run-dir", self.run, "--listen",
                "127.0.0.1:0", "--certs-listen", "127.0.0.1:0", "--advertise", "127.0.0.1", *options,
            ],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
            env={**environment, "HUB_BIN_DIR": str(self.programs)},
            # Ends the hub if this program is killed.
            preexec_fn=lambda: isolation.end_with_parent(signal.SIGTERM))
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            os.set_blocking(stream.fileno(), False)
        loop = asyncio.get_running_loop()
        loop.add_reader(self.process.stderr.fileno(), self._read_log)
        loop.add_reader(self.process.stdout.fileno(), self._read_output)

    # Output

    def stall(self):
        """The reader of the output stops; several stalls may overlap."""
        self._stalls += 1
        if self._stalls == 1:
            asyncio.get_running_loop().remove_reader(self.process.stdout.fileno())

    def resume(self):
        self._stalls -= 1
        if self._stalls == 0 and not self.process.stdout.closed:
            asyncio.get_running_loop().add_reader(self.process.stdout.fileno(), self._read_output)

    def _read_output(self):
        self._read(self.process.stdout, "output", self.on_output)

    def _read_log(self):
        data = self._read(self.process.stderr, "log", self.on_log)
        if data:
            self.log_file.write(data)
            self.log_file.flush()

    def _read(self, stream, name, handle):
        try:
            data = os.read(stream.fileno(), READ_AT_ONCE)
        except BlockingIOError:
            return b""
        if not data:
            asyncio.get_running_loop().remove_reader(stream.fileno())
            return b""
        *lines, self._parts[name] = (self._parts[name] + data).split(b"\n")
        for line in lines:
            handle(line)
        return data

    # Input

    def write(self, data):
        self.waiting += data
        self._write_some()

    def _write_some(self):
        while self.waiting:
            try:
                count = os.write(self.process.stdin.fileno(), self.waiting[: 64 << 10])
            except BlockingIOError:
                break
            except (BrokenPipeError, ValueError):
                self.waiting.clear()
                break
            del self.waiting[:count]
        if bool(self.waiting) != self._is_writing:
            self._is_writing = bool(self.waiting)
            loop = asyncio.get_running_loop()
            if self._is_writing:
                loop.add_writer(self.process.stdin.fileno(), self._write_some)
            else:
                loop.remove_writer(self.process.stdin.fileno())

    # Files and processes

    def port(self, name):
        """The port in the file `name` of the run directory, or None while there is none."""
        try:
            return int((self.run / name).read_text())
        except (OSError, ValueError):
            return None

    async def wait_port(self, name, seconds=30):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            if self.port(name):
                return self.port(name)
            await asyncio.sleep(0.05)
        raise RuntimeError(f"the hub has no {name}; see {self.directory / 'hub.log'}")

    def open_stage(self, stage):
        """A descriptor of the stage's process, which cannot come to mean another one; None while the stage is not running."""
        try:
            pid = int((self.run / f"{stage}.pid").read_text().split()[0])
            descriptor = os.pidfd_open(pid)
        except (OSError, ValueError, IndexError):
            return None
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
            if os.path.basename(command).decode() == PROGRAMS[stage]:
                return descriptor
        except OSError:
            pass
        os.close(descriptor)
        return None

    def resident(self, stage):
        """Resident bytes of a stage; 0 while it is not running."""
        try:
            pid = int((self.run / f"{stage}.pid").read_text().split()[0])
            return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError):
            return 0

    async def queue(self, what):
        """`hub-queue list|syncs|nodes` while the hub runs."""
        process = await asyncio.create_subprocess_exec(
            self.programs / "hub-queue", what, "--state", self.state, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, errors = await process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"hub-queue {what} ended with {process.returncode}: {errors.decode()[-300:]}")
        return [json.loads(line) for line in out.splitlines()]

    def token(self):
        done = subprocess.run(
            [self.programs / "hub-certs", "token", "--dir", self.directory / "certs"], capture_output=True, timeout=20, check=True)
        return done.stdout.decode().strip()

    async def stop(self, seconds=30):
        """SIGTERM, and the status; None when it had to be killed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        return self.process.poll()

    def kill(self):
        """Whatever still runs; the launcher's guard ends the stages."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def close(self):
        loop = asyncio.get_running_loop()
        for stream in (self.process.stdout, self.process.stderr):
            with contextlib.suppress(ValueError, OSError):
                loop.remove_reader(stream.fileno())
                stream.close()
        with contextlib.suppress(ValueError, OSError):
            loop.remove_writer(self.process.stdin.fileno())
            self.process.stdin.close()
        self.log_file.close()
