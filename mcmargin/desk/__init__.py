"""What computes: margin(), stress(), what-ifs, attribution, verify(), why a margin changed.

In: a book, scenarios, a market and a policy, or reports. Out: reports. Each file answers one
question that a desk asks.

margining        from a book and scenarios to what each account must post, and why
session          what a margin report was made of
live_session     the desk's answers to what a report asks for (`mcmargin.reports.live.Live`)
gathering        from columns of a requirement to the figures of a report, or of one account
previous         what the previous report says of each row of a margin, for a buffer and a speed
                 limit

what_if          an account's figures after a proposed trade
largest_order    the most that an account's equity permits
attribution      what the margin of each account is made of
order_shares     what each ordered instrument adds to the expected shortfall of a unit
margined_gains   gains on which a margin was taken: of a whole account, or of each position of an
                 isolated one

stress_testing   what every account and owner loses in a policy's stress scenarios

verification     recompute a margin report from its own seed and compare
restoring        a saved report gets its scenarios again
waterfall        why each account's margin changed between two reports (`mm.attribute`)
common_book      what was held on a first date, and is still held on a second one
"""
