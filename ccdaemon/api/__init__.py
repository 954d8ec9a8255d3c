"""The HTTP API: what a CRM may ask and how it is answered."""
