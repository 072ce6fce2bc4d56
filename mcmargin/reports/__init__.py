"""What was found, as values: figures, text, JSON, Parquet, pages and health.

In: figures that desk/ has gathered, or a file. Out: frozen values that can be saved, read, pickled
and shown. What needs scenarios asks for them through one protocol, `live.Live`.

margin_report      what margin() found, and what a user asks of it
margin_figures     the frozen fields of a margin report, and plain access to them
account_figures    figures of accounts and owners: the rows of a report, one by one and as tables
live               what a report asks for where its figures alone do not tell, such as a what-if
health             whether accounts cover their margins and by how much, and which leverage they can
                   take

report_file        a margin report as JSON that can be recomputed, and as Parquet for many accounts
report_checksum    whether a report says what it said when it was written
report_text        reports for a terminal, and for a notebook
shown_figures      figures as people read them: rounded to the digits that their Monte Carlo error
                   leaves reliable

html_report        a margin report as one HTML page, for a browser, a phone and a printer
page_answer        what a page says first: who is in liquidation, who is called, and by how much
page_accounts      a line for each account, the worst first, and what its margin is made of
page_environment   templates of pages, with the filters that they use
margin_parts       parts of a margin, in words and as one picture
report_charts      charts of a margin report, as SVG for a page, and of a change, as PNG

stress_report      what every account and owner loses in a policy's stress scenarios
default_fund       a default fund that covers the largest stressed losses over margin
margin_change      why margins changed, as a table of parts by account
"""
