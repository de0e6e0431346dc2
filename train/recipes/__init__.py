"""Recipes: published trainings as files of settings, which people read, copy and train with.

Here belong the files, one TOML per recipe with its source, its published figure and what of it is checked, and the
code that reads such a file and turns it into a TrainConfig. What a setting does belongs to the trainer, and how a
recipe is printed to the command line.
"""

from .reading import read_recipe, recipe_names
from .recipe import Published, Recipe, Source, recipe_config

__all__ = ["Published", "Recipe", "Source", "read_recipe", "recipe_config", "recipe_names"]
