"""
The gateway's pages: what do users and administrators see of usage, budgets and audit?

Rendered here, in JupyterHub's look, and readable without JavaScript::

    application                                  Tornado's handlers behind the API's server
    routes                                       the addresses
    overview | usage | spending | budgets | audit    a page each, with its files
    download                                     the base of files, sent piece by piece
    page                                         the base of pages
    budget_form | audit_lines | process_stats | bar_chart    parts of one page
    sums | budget_status | rows                  queries
    formatting | spans                           numbers and money in words | spans of time
"""
