"""Evidence: what the models' record is, on data that anybody can load. `make evidence` makes it.

`python -m evidence` writes evidence/results: forecasts of all models on closes that ship with
`arch` (listed.md, listed.csv), and how often each test rejects right and wrong forecasts
(size_and_power.md). An interrupted run goes on from what is done, in build/evidence.
"""
