"""What is spelled Asterisk's way, tested byte by byte."""
