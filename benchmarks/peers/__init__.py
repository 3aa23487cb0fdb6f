"""mapred beside other engines: one module for each workload, one function for each engine."""
