"""ccdaemon: a call-control daemon for a call centre that runs on Asterisk."""

__version__ = "0.1.0"
