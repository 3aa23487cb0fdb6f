"""The user's own modules: which they are, and their sources on the way to workers.

A pickle names a module; the run's folder holds the source of every named module that is not
installed, and of the local modules that it imports. A worker imports each by its name, once.
"""
