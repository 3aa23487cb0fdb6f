"""Keys, certificates and kubeconfigs, each made once."""

from __future__ import annotations

import os
from pathlib import Path

from testbed.cluster.places import API_IN_PODS, GATEWAY, KUBECONFIG, NODE, PKI, PORT_API
from testbed.cluster.processes import run

DAYS = "3650"
NAMES = "kubernetes kubernetes.default kubernetes.default.svc kubernetes.default.svc.cluster.local"
# name -> (subject, host names that it serves under)
CERTIFICATES = {
    "apiserver": (
        "/CN=kube-apiserver",
        [f"DNS:{name}" for name in ["localhost", *NAMES.split()]]
        + [f"IP:{address}" for address in ("127.0.0.1", API_IN_PODS, GATEWAY)],
    ),
    "kubelet": (f"/O=system:nodes/CN=system:node:{NODE}", ["DNS:localhost", "IP:127.0.0.1"]),
    "controllers": ("/CN=system:kube-controller-manager", []),
    "scheduler": ("/CN=system:kube-scheduler", []),
    "admin": ("/O=system:masters/CN=admin", []),
}


def make() -> None:
    """Writes what is missing into the folder PKI; the admin's kubeconfig comes last."""
    if KUBECONFIG.exists():
        return
    PKI.mkdir(parents=True, exist_ok=True)
    PKI.chmod(0o700)
    _key("ca")
    run("openssl", "req", "-x509", "-new", "-key", PKI / "ca.key", "-subj", "/CN=mapred-tests",
        "-days", DAYS, "-out", PKI / "ca.crt")  # fmt: skip
    _key("accounts")
    run("openssl", "rsa", "-in", PKI / "accounts.key", "-pubout", "-out", PKI / "accounts.pub")
    for name, (subject, served) in CERTIFICATES.items():
        _certificate(name, subject, served)
        if name != "apiserver":
            _kubeconfig(name)


def _key(name: str) -> None:
    run("openssl", "genrsa", "-out", PKI / f"{name}.key", "2048")


def _certificate(name: str, subject: str, served: list[str]) -> None:
    _key(name)
    extensions = PKI / f"{name}.ext"
    lines = ["keyUsage=digitalSignature,keyEncipherment", "extendedKeyUsage=clientAuth,serverAuth"]
    if served:
        lines.append("subjectAltName=" + ",".join(served))
    extensions.write_text("\n".join(lines) + "\n")
    request = PKI / f"{name}.csr"
    run("openssl", "req", "-new", "-key", PKI / f"{name}.key", "-subj", subject, "-out", request)
    run("openssl", "x509", "-req", "-in", request, "-CA", PKI / "ca.crt", "-CAkey", PKI / "ca.key",
        "-CAcreateserial", "-days", DAYS, "-extfile", extensions, "-out", PKI / f"{name}.crt")  # fmt: skip
    extensions.unlink()
    request.unlink()


def _kubeconfig(name: str) -> None:
    path: Path = PKI / f"{name}.kubeconfig"
    new = path.with_suffix(".new")
    new.write_text(f"""\
apiVersion: v1
kind: Config
clusters:
- name: mapred-tests
  cluster: {{server: "https://127.0.0.1:{PORT_API}", certificate-authority: {PKI}/ca.crt}}
users:
- name: {name}
  user: {{client-certificate: {PKI}/{name}.crt, client-key: {PKI}/{name}.key}}
contexts:
- name: mapred-tests
  context: {{cluster: mapred-tests, user: {name}}}
current-context: mapred-tests
""")
    os.replace(new, path)
