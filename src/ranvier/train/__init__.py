"""Training: losses, metrics and the adapter to Lightning (`ranvier.train.engine`, imported when it is used)."""

from ranvier.train import loss as loss
from ranvier.train import metric as metric
from ranvier.train import regularise as regularise
