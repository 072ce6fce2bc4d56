"""What is charged, declared.

In: numbers, or a TOML file. Out: a `MarginPolicy`, and the formula of a margin as one table, which
the requirement, the attribution, the page and the policy's own words read.

policy         what is charged, declared as one checked value
policy_parts   parts of a margin policy, each of which one component of the margin reads
stress_parts   stress scenarios of a policy, declared: windows of history, grids, gaps and depegs
part_checks    checks that several parts of a policy share
formula        the formula of a margin: its steps in their order, in one table that everybody reads
policy_words   what a policy says about each step of its formula, and beside the formula
"""
