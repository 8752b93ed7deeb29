"""Jobs survive everything: a platform under load, its processes killed one after another, and the books checked.

    python -m ops.faults --jobs 500 --kills 20        # `make faults`: both databases, 5 to 8 minutes each

A client keeps a ledger of what was accepted (`ledger`), a receiver one of the webhooks that came (`receiver`). `rig`
runs the platform and kills its processes, `faults` says what is killed and when, `books` compares ledger, database,
artifacts and webhooks at the end.
"""
