"""Accounts, positions, orders and balances, and what is margined as one.

In: frames or files. Out: a `Book`; and a `ResolvedBook`, made once where a book enters, which is
checked against a model and a market and has what all later stages use.

book            the positions, open orders and balances of all accounts
accounts        the currency and the owner of each account, and how it is margined
rows            rows of positions, open orders or balances, checked
account_files   files of accounts
files_of_book   the files of a book and its market, read together

resolved        a book that was checked, in the form that all stages use
admission       whether a model and a market can value a book
market_check    whether a market belongs to the model and to the instruments that it is used with
units           what is margined as one
collateral      the balances of a book, their kinds, and which of them move with the positions
unrealised      what positions have gained since they were entered

book_greeks     what an instrument, a position and an account gain from small moves of the market,
                today
"""
