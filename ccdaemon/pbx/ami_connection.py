"""From the configuration to AMI's endpoint and credentials."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS

from ccdaemon.ami.ami_settings import Credentials
from ccdaemon.config import Asterisk
from ccdaemon.http_client import trust_root


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
        trusted = trust_root(settings.tls_ca, "asterisk.tls_ca")
    return wrapClientTLS(optionsForClientTLS(settings.host, trustRoot=trusted), endpoint)


def credentials(settings: Asterisk) -> Credentials:
    """The AMI user, and how the secret is shown."""
    return Credentials(settings.username, settings.secret, challenge=settings.auth == "md5")
