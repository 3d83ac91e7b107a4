"""What holds for all tests."""

from __future__ import annotations

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell does that to what it starts in the background, and it is inherited; some tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
