"""Every error this service raises on purpose, each with its HTTP status and exit code.

    CdsServiceError
    ├── ConfigurationError        exit 2    a setting or file of the deployment is wrong: refuse to start
    ├── ContentError              exit 10   cards/ is wrong: refuse to start
    ├── InputFileError            exit 11   a file given on the command line cannot be read
    ├── LedgerError       500     exit 12   the record could not be made durable
    │   └── LedgerUnavailable 503           ... for a while: the database is away, full, locked or silent
    ├── Unfinished                exit 14   a command could not do all of its work: a full disk, a killed process
    ├── InternalFault             exit 15   a replay met an exception that nobody foresaw
    └── RequestError      400     exit 13   the caller's request
        ├── Unauthorized  401
        ├── NotFound      404
        ├── MissingData   412               needed FHIR data could not be obtained
        ├── TooLarge      413
        ├── WrongMedia    415
        ├── NotCrd        422               valid CDS Hooks, but not CRD
        └── TooManyRequests 429

Messages name the field and the cure; they never hold a value from a chart or a token.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Issue:
    """One OperationOutcome issue: FHIR issue-type code, text, and a FHIRPath to the field.

    A text with a full stop stands by itself; one without says what is wrong with `path`: "is missing".
    """

    text: str
    path: str = ""
    code: str = "invalid"
    severity: str = "error"

    @property
    def sentence(self) -> str:
        """What people read: the text, after the path where it needs one."""
        return self.text if not self.path or self.text.endswith(".") else f"{self.path} {self.text}"


def once(issues: Iterable[Issue]) -> tuple[Issue, ...]:
    """The issues, each once: what is said of one field in the same words is one."""
    said: dict[tuple[str, str], Issue] = {}
    for issue in issues:
        said.setdefault((issue.path, issue.sentence), issue)
    return tuple(said.values())


def outcome(issues: Iterable[Issue]) -> dict[str, Any]:
    """An OperationOutcome resource, in which nothing is said twice."""
    return {"resourceType": "OperationOutcome", "issue": [_issue(i) for i in once(issues)]}


def _issue(issue: Issue) -> dict[str, Any]:
    text = issue.sentence
    body = {"severity": issue.severity, "code": issue.code, "diagnostics": text, "details": {"text": text}}
    return {**body, "expression": [issue.path]} if issue.path and issue.path != "$" else body


def place_of(error: BaseException) -> str:
    """Kind and place of an error that was not foreseen; its text may hold data, and is left out."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "unknown"
    return f"{type(error).__name__} at {place}"


class CdsServiceError(Exception):
    """Base of all errors raised on purpose."""

    http_status = 500
    exit_code = 1


class ConfigurationError(CdsServiceError):
    """The deployment is configured wrongly; the service refuses to start."""

    exit_code = 2


class ContentError(CdsServiceError):
    """Faulty policy content: file, line, column, what is wrong, and the cure."""

    exit_code = 10

    def __init__(self, file: str, line: int, column: int, text: str, cure: str = "") -> None:
        self.file, self.line, self.column, self.text, self.cure = file, line, column, text, cure
        super().__init__(str(self))

    def __str__(self) -> str:
        cure = f" {self.cure}" if self.cure else ""
        return f"{self.file}:{self.line}:{self.column}: {self.text}{cure}"


class InputFileError(CdsServiceError):
    """A file given on the command line cannot be read."""

    exit_code = 11


class LedgerError(CdsServiceError):
    """The record of an answer could not be made durable, so the answer must not leave."""

    exit_code = 12


class LedgerUnavailable(LedgerError):
    """The ledger's database is away, full, locked or silent: the same call may succeed in a while."""

    http_status = 503
    retry_after = 2
    """Seconds after which a caller may send the call again, with a new token."""


class Unfinished(CdsServiceError):
    """A command could not do all of its work, through no fault of its inputs: a full disk, a killed process."""

    exit_code = 14


class InternalFault(CdsServiceError):
    """A fault of this program: an exception that nobody foresaw. Says its kind and place, not its text."""

    exit_code = 15


class RequestError(CdsServiceError):
    """The caller's request cannot be answered; holds the OperationOutcome issues."""

    http_status = 400
    exit_code = 13

    def __init__(self, *issues: Issue | str, path: str = "", code: str = "") -> None:
        self.issues = tuple(i if isinstance(i, Issue) else Issue(i, path, code or self.default_code) for i in issues)
        super().__init__("; ".join(i.sentence for i in self.issues))

    default_code = "invalid"


class Unauthorized(RequestError):
    """The calling client is not trusted. Always the same text, so that nothing is learned from it."""

    http_status = 401
    default_code = "login"

    def __init__(self) -> None:
        super().__init__("The calling client is not trusted. Send a valid bearer token of a declared client.")


class NotFound(RequestError):
    """No such service or page."""

    http_status = 404
    default_code = "not-found"


class MissingData(RequestError):
    """Needed FHIR data is neither in prefetch nor obtainable (CDS Hooks, HTTP 412)."""

    http_status = 412
    default_code = "incomplete"


class TooLarge(RequestError):
    """Body, number of orders or nesting beyond the limits."""

    http_status = 413
    default_code = "too-long"


class WrongMedia(RequestError):
    """Content-Type is not JSON."""

    http_status = 415
    default_code = "not-supported"


class NotCrd(RequestError):
    """Valid CDS Hooks and FHIR, but a CRD order lacks code, authoredOn or requester."""

    http_status = 422
    default_code = "required"


class TooManyRequests(RequestError):
    """The client's rate limit is spent."""

    http_status = 429
    default_code = "throttled"
