"""Learning forward in time: the gradients are derived from the rule of a neuron, and their memory does not grow with
the number of steps.
"""

from ranvier.online.learner import Learner
from ranvier.online.learning import Learning
from ranvier.online.methods import FEEDBACKS, GRADIENTS

__all__ = ["FEEDBACKS", "GRADIENTS", "Learner", "Learning"]
