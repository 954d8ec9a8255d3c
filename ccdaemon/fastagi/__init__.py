"""FastAGI for Twisted: usable without the rest of ccdaemon."""
