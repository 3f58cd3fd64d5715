"""hxtorch's logger, on Python's own: `logger.get(name)`, `logger.default_config(level=logger.LogLevel.ERROR)`."""

import enum
import logging


class LogLevel(enum.IntEnum):
    """How much is said."""

    TRACE = 5
    DEBUG = logging.DEBUG
    INFO = logging.INFO
    WARN = logging.WARNING
    ERROR = logging.ERROR
    FATAL = logging.CRITICAL


def get(name: str) -> logging.Logger:
    """The logger of that name."""
    return logging.getLogger(name)


def default_config(level: LogLevel = LogLevel.WARN) -> None:
    """Print messages from this level on."""
    logging.basicConfig(level=int(level))
