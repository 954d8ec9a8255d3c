"""Whom to trust on TLS connections: certificates of the administrator's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from OpenSSL.crypto import Error as OpenSSLError
from twisted.internet.ssl import Certificate, trustRootFromCertificates

_BEGIN = b"-----BEGIN CERTIFICATE-----"


def trust_root(path: Path, key: str) -> Any:
    """Trust the certificates of a PEM file, and no others.

    :param key: the configuration's key that names the file, for the error.
    :raises OSError: if it cannot be read.
    :raises ValueError: if it holds no certificates.
    """
    try:
        parts = path.read_bytes().split(_BEGIN)[1:]
        found = [Certificate.loadPEM(_BEGIN + part) for part in parts]
    except OpenSSLError as error:
        raise ValueError(f"{key}: {path} holds a certificate that is damaged") from error
    if not found:
        # An empty list of whom to trust would refuse everybody, and not say why.
        raise ValueError(f"{key}: {path} holds no certificate in PEM")
    return trustRootFromCertificates(found)
