"""The journal every fact is written to first, and the history that Postgres keeps of it."""
