"""
The gateway's pages: everybody's usage, and the administrators' view.

Rendered here, in JupyterHub's look, and readable without JavaScript. Floors::

    views                   what is at which address
    auditing | budgeting | overview | spending
                            a page each, with its files
    usage                   somebody's own page, and its files
    download                a table as a file, piece by piece
    page | machine          what pages have in common | memory and CPU time of servers
    budget_form | records   a budget as it is typed | a record of the audit in words
    lists | plots           the rows that pages show | bars as SVG
    queries | words         the sums | numbers, money and times as people read them
"""
