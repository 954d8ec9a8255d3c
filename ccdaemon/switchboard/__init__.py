"""What a CRM can have done: calls made and taken in, and a hand on those that are up."""
