"""
The gateway's pages: everybody's usage, and the administrators' view.

Rendered here, in JupyterHub's look, and readable without JavaScript. Floors::

    views                     what is at which address, and who may see it
    queries | plots | machine what the pages show | bars as SVG | memory and CPU time
"""
