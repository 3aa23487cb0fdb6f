"""What users set of a cluster: the backend is its settings, and what it can do with them."""

from __future__ import annotations

import dataclasses
import pickle

import mapred
from mapred.backends.argo.settings import ArgoSettings


def test_the_backend_has_the_fields_of_its_settings_and_is_of_its_own_name() -> None:
    argo = mapred.Argo(namespace="jobs", volumes=[mapred.Volume("/nas", claim="nas")])
    assert isinstance(argo, ArgoSettings)
    assert dataclasses.fields(argo) == dataclasses.fields(ArgoSettings)
    assert repr(argo).startswith("Argo(namespace='jobs', image=None")
    assert pickle.loads(pickle.dumps(argo)) == argo
    assert dataclasses.replace(argo, namespace=None) != argo
    assert argo.arguments.keys() == {"namespace", "volumes"}
    assert "Args:" in (mapred.Argo.__doc__ or "")
