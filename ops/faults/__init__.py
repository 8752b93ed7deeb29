"""Jobs survive everything: a platform under load that is struck again and again, and the check of its history.

    python -m ops.faults --seed 7                     # `make faults`: both databases, at most 10 minutes each

`rig` runs the platform on a `disk` of its own, behind a `proxy` where its database is a server. Clients of three teams
write down what they asked for and were told (`clients`), receivers the webhooks that came (`receiver`). Meanwhile blows
(`blows`, `changes`) fall, drawn by a seed (`draw`). `records` adds what the platform has at the end: that is the
campaign's `history`, which `checker` accepts, or refuses breach by breach.
"""
