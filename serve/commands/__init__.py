"""The groups of `cnserve`: what a tenant does through the API, what the operator does to teams and keys."""
