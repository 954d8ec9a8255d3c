"""Tests of the AMI client."""
