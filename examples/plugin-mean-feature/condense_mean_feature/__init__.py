"""An example of a plugin for condense: the mean feature of each class."""
