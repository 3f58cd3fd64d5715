"""Learning forward in time: gradients whose memory does not grow with the number of steps, derived from the rule of a
neuron.
"""

from ranvier.online.learner import Learner
from ranvier.online.learning import Learning
from ranvier.online.methods import FEEDBACKS, GRADIENTS

__all__ = ["FEEDBACKS", "GRADIENTS", "Learner", "Learning"]
