"""Who may use the platform: teams as they are declared, keys and tokens, roles, and the log of what admins did.

The tables are those of `serve.jobs.schema`. What a team is comes from a file (`declared`); keys are the database's own.
"""
