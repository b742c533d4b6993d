"""``python leash.py command …``: run a command that cannot outlive its parent process.

The command runs in this process group. When standard input ends, because the parent closed it or
crashed, the command gets SIGTERM, and the whole group is killed if it does not end within
:data:`GRACE` seconds. Works wherever there are process groups; needs nothing installed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

GRACE = 6.0


def main() -> int:
    # The parent handles the terminal's Ctrl-C and its own signals.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    threading.Thread(target=_stop_when_alone, args=(process,), daemon=True).start()
    return process.wait()


def _stop_when_alone(process: subprocess.Popen[bytes]) -> None:
    while os.read(0, 1024):
        pass
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
