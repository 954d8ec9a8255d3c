"""The methods of the API, by family."""
