"""Models: built by name, described layer by layer, and given the weights of other programs.

A module belongs here if it needs a model and neither data nor an optimiser.
"""

from .build import MODELS, build_model, check_model, model_of, require_scores

__all__ = ["MODELS", "build_model", "check_model", "model_of", "require_scores"]
