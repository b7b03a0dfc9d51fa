"""
The gateway's pages: everybody's usage, and the administrators' view.

Rendered here, in JupyterHub's look, and readable without JavaScript. Floors::

    views             what is at which address, and who may see it
    page | machine    what pages have in common | memory and CPU time of servers
    budget_form       a budget as it is typed
    queries | plots   what the pages show | bars as SVG
"""
