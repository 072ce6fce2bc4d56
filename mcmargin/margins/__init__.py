"""From losses on paths to margins: tails, components, the requirement.

In: a resolved book, valuations and a policy. Out: initial and maintenance margin of every account,
and of every owner that nets, with each component and each standard error.

requirement         initial and maintenance margin of every account, and of every owner that nets
row_margins         margins of some rows, a row being an account, or an owner whose accounts are
                    netted
operations          how the components of accounts become margins, step by step
components          small functions, each of which gives an amount for every unit
unit_context        what every component of a margin is computed from
valuations          how the instruments of a book are valued for each margin that a policy asks for
horizons            which horizons must be simulated: those of a policy, and those of earlier
                    expiries

figures             expected shortfall, value at risk, and each position's share of them
gains               gains of margin units and positions on simulated paths, each in its unit's
                    currency
unit_tails          tails of margin units, where the values of their instruments do not fit the
                    memory
contributions       each position's share of its unit's expected shortfall
estimates           amounts that were taken from simulated paths, and how they move with the paths
lone                the expected shortfall of one unit of an instrument, long or short, held alone

worst_fills         the combination of fills of its open orders that costs an account most
unit_orders         what the worst fills add to the expected shortfall of each unit
worst_fill_errors   how the expected shortfall with the worst fills moves with the paths

stress_add_on       a share of the losses that stress adds to base
liquidity           what it costs to close a position, and the risk of taking longer to close it
leverage            charges that go by the size of a holding alone
haircuts            how much less than its value collateral counts
equity              what each account owns
procyclicality      how procyclical a margin is: measures of a series of margins over time
"""
