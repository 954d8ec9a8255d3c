"""Webhooks: everything that is told, POSTed to the CRM's addresses, in order and at least once."""
