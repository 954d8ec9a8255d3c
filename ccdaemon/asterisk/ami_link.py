"""From the configuration to AMI's endpoint and credentials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from OpenSSL.crypto import Error as OpenSSLError
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates

from ccdaemon.asterisk.ami_settings import Credentials
from ccdaemon.config import Asterisk

_BEGIN = b"-----BEGIN CERTIFICATE-----"


def ami_endpoint(reactor: Any, settings: Asterisk) -> IStreamClientEndpoint:
    """Where AMI is; with TLS the certificate has to be ``host``'s.

    :raises OSError: if ``tls_ca`` cannot be read.
    :raises ValueError: if it holds no certificates.
    """
    endpoint = HostnameEndpoint(reactor, settings.host.encode(), settings.port)
    if not settings.tls:
        return endpoint
    trusted = None
    if settings.tls_ca is not None:
        trusted = trustRootFromCertificates(_certificates(settings.tls_ca))
    return wrapClientTLS(optionsForClientTLS(settings.host, trustRoot=trusted), endpoint)


def _certificates(path: Path) -> list[Certificate]:
    try:
        parts = path.read_bytes().split(_BEGIN)[1:]
        found = [Certificate.loadPEM(_BEGIN + part) for part in parts]
    except OpenSSLError as error:
        raise ValueError(f"asterisk.tls_ca: {path} holds a certificate that is damaged") from error
    if not found:
        # An empty list of whom to trust would refuse every Asterisk, and not say why.
        raise ValueError(f"asterisk.tls_ca: {path} holds no certificate in PEM")
    return found


def credentials(settings: Asterisk) -> Credentials:
    """The AMI user, and how the secret is shown."""
    return Credentials(settings.username, settings.secret, challenge=settings.auth == "md5")
