"""The Argo backend beside Workflows written by hand, on the cluster of the tests.

It must be there already: `make cluster-up` starts one on this machine as root, or
MAPRED_TEST_KUBECONFIG names another. Figures are worth something where nobody else uses it.
"""
