"""Every failure that this package reports: its stable code, HTTP status and hint."""

import sys

from kernel_service.waiting_line import Place


class ServiceError(Exception):
    """The root of this package's errors.

    `code` is stable and may be matched by clients; `status` is the HTTP status; `hint` says what to do about it.
    """

    code = "service-error"
    status = 500
    hint = "Read the service's log."


class StartupError(ServiceError):
    """The service cannot start; `exit_code` is what the process ends with."""

    code = "cannot-start"
    exit_code = 1


class UsageError(StartupError):
    """The command line asks for something that this edition refuses."""

    code = "usage"
    exit_code = 2


class ZygoteError(StartupError):
    """The zygote did not become ready."""

    code = "zygote-failed"
    status = 503


class PoolError(ServiceError):
    """No kernel can be handed out."""

    status = 503


class PoolClosed(PoolError):
    """The pool is not open."""

    code = "pool-closed"
    hint = "Wait until the service has started."


class PoolTimeout(PoolError):
    """A kernel did not start in time."""

    code = "kernel-timeout"
    hint = "Try again in a moment; if it stays so, read the zygote's log in the state directory."


class KernelSilent(PoolError):
    """A kernel runs but does not answer."""

    code = "kernel-silent"
    hint = "Start another kernel."


class TooManyRequests(PoolError):
    """The service runs as many kernels as it may."""

    code = "service-full"
    hint = "Try again in a few minutes: idle kernels are given back."


class MustWait(TooManyRequests):
    """The service runs as many kernels as it may, and the reader has a place in the line for the next one."""

    def __init__(self, message: str, place: Place, retry_s: float) -> None:
        super().__init__(message)
        self.place, self.retry_s = place, retry_s


class ReaderQuotaExceeded(TooManyRequests):
    """One reader runs as many kernels as a reader may."""

    code = "reader-full"
    status = 429
    hint = "Close another page of the book that runs code, or reset its kernel."


class KernelUnknown(ServiceError):
    """There is no such kernel, or it belongs to another reader: the two are not told apart."""

    code = "kernel-unknown"
    status = 404
    hint = "Start a new kernel with POST /api/kernels."


class HostRefused(ServiceError):
    """The Host header names something else than this machine."""

    code = "host-refused"
    status = 403
    hint = "Open the book at the address that the service printed."


class CrossOrigin(ServiceError):
    """Another web site asks for a token."""

    code = "cross-origin"
    status = 403
    hint = "Ask from a page of the book."


class BadRequest(ServiceError):
    """The body is not what the endpoint expects."""

    code = "bad-request"
    status = 400
    hint = 'Send {"name": "tlab"}.'


def complain(reason: object) -> None:
    """Say in one line on standard error why the service does not start."""
    print(f"kernel_service: {reason}", file=sys.stderr, flush=True)  # noqa: T201 - meant for the terminal
