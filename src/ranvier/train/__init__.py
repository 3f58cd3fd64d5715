"""Training: losses, metrics and the adapter to Lightning (`ranvier.train.engine`, imported when it is used)."""

from . import loss as loss
from . import metric as metric
