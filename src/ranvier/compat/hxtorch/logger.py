"""hxtorch's logger, on Python's own: `logger.get(name)`, `logger.default_config(level=logger.LogLevel.ERROR)`."""

import enum
import logging


class LogLevel(enum.IntEnum):
    """Level of detail of the messages."""

    TRACE = 5
    DEBUG = logging.DEBUG
    INFO = logging.INFO
    WARN = logging.WARNING
    ERROR = logging.ERROR
    FATAL = logging.CRITICAL


def get(name: str) -> logging.Logger:
    """Return the logger with this name."""
    return logging.getLogger(name)


def default_config(level: LogLevel = LogLevel.WARN) -> None:
    """Print messages from this level on."""
    logging.basicConfig(level=int(level))
