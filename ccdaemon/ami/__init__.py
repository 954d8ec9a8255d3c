"""AMI, Asterisk's manager interface, for Twisted: usable without the rest of ccdaemon."""
