"""Everything that is spelled Asterisk's way: AMI, FastAGI, CEL, and the signals made of them."""
