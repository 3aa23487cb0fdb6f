"""The pictures of the documentation and the outputs of the notebooks, all of them from real runs.

`make pictures` writes docs/pictures, and `make notebooks` the outputs of notebooks/. Both work in a
home folder of their own, and what they write names neither it nor this machine.
"""
