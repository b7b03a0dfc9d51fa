"""
Kernels: where code runs, and what comes of it.

================  ==================================================================
registry          finds the kernel of a chat or a notebook, or starts one
prewarm           one kernel started ahead of its use, for the first conversation
provisioner       starts kernels, the first from the process that waits to become one
waiting           starts that process before the server's own imports
waiting_process   what it runs
kernel            one live kernel: run code in it, evaluate something silently
run               one execution in a kernel: its limits, its end, how it is stopped
connection        the channels to a kernel; sorts its messages to the requests
request           one execute request, and the messages that answer it
scratch           runs that leave no names behind, inside the kernel
execution_marker  which request the kernel executes, written by the kernel to a file
process           the process of a kernel: does it live, and what ended it
cgroup            the control group that bounds the process's memory
outputs           the outputs of a run, within its limits, and a digest for the model
terminal          text as a terminal shows it: carriage returns, cursor moves, colours
plain_text        outputs and errors as text for the model
variables         the user's variables, listed or looked at by name
inspector         runs inside the kernel, for ``variables``
bounded_repr      ``repr`` bounded in length and time, inside the kernel too
================  ==================================================================
"""
