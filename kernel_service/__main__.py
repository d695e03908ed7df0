"""`python -m kernel_service`: checks what was asked for, then serves the book and its live kernels."""

import signal
import sys

from kernel_service import options as command_line
from kernel_service.errors import StartupError, complain


def main(arguments: list[str] | None = None) -> int:
    """Run the service; answers the exit status."""
    try:
        options = command_line.parse(arguments)
        listener = command_line.bind(options)
        from kernel_service.application import serve  # noqa: PLC0415 - takes a second; a refusal should not

        return serve(options, listener)
    except StartupError as error:
        complain(error)
        return error.exit_code


if __name__ == "__main__":
    # Ctrl-C ends it quietly, also while its modules still load.
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: sys.exit(0))
    sys.exit(main())
