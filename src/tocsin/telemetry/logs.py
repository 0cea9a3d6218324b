"""Log lines: structured, on stderr, as text or as JSON, with ids and never with secrets.

In: events of structlog and of the standard library's loggers. Out: one line each. What looks like a key, a token or
a password is masked, by the name it goes under and by its form.
"""

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Final

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

MASK: Final = "[masked]"
_SECRET_NAMES: Final = re.compile(
    r"(^|_)(token|tokens|secret|secrets|authorization|password|passwd|private_key|api_key|dsn|database_url"
    r"|credential|assertion|p256dh|auth|cookie|subscription)$",
    re.IGNORECASE,
)
_SECRET_FORMS: Final = (
    (re.compile(r"\btk_(test|live)_\w+"), r"tk_\1_" + MASK),
    (re.compile(r"(?i)\b(bearer|vapid) [\w.~+/=,-]+"), r"\1 " + MASK),
    (re.compile(r"(\w+://[^:/@\s]+):[^@/\s]+@"), r"\1:" + MASK + "@"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END|$)", re.DOTALL), MASK),
)


def masked(value: Any, name: str = "") -> Any:
    """The value as it may be logged: masked whole under a secret's name, and in places where it has a secret's form."""
    if value is not None and _SECRET_NAMES.search(name):
        return MASK
    if isinstance(value, str):
        for form, mask in _SECRET_FORMS:
            value = form.sub(mask, value)
        return value
    if isinstance(value, Mapping):
        return {key: masked(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked(inner) for inner in value]
    return value


def mask_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: every member of the event, masked."""
    return {key: masked(value, key) for key, value in event.items()}


def _forget_colours(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Uvicorn says everything twice, once with colours."""
    event.pop("color_message", None)
    return event


def _as_json(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=str).decode()


def configure(level: str = "info", layout: str = "json") -> None:
    """Set up logging for this process. `level` is debug | info | warning | error, `layout` text | json."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
        _forget_colours,
    ]
    last: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        mask_secrets,
    ]
    if layout == "json":
        last.append(structlog.processors.JSONRenderer(serializer=_as_json))
    else:
        last.append(structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0, pad_level=False))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # what a server says of itself is ours to say; the loggers of libraries are worth a warning only
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate, logger.disabled = True, False
        logger.setLevel(logging.NOTSET)
    for name in ("alembic", "asyncio", "hpack", "uvicorn.access"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    # a pool that cannot connect says so with a trace each time; whoever waits for it says it in a line
    logging.getLogger("asyncpg").setLevel(logging.ERROR)
