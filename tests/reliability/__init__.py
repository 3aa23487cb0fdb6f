"""Runs under attack, by seeds: `python -m reliability --help` in the folder `tests`.

A trial begins a job in a process of its own, attacks it, takes the obstacle away, and resumes the
run until it succeeds. Its answer is compared with the exact one; each error on the way must be
one of mapred's own, and every process must end within a bound. Anything else is a fault.
"""
