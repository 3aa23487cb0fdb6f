"""mapred beside other engines: a module for each workload, a function for each engine.

A workload has `TITLE`, `make` its input, `CONTENDERS` by name, `rows` of an answer, and maybe
`ABSENT`: the reasons why some engines are left out.
"""
