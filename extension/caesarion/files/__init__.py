"""
Files: what did the user give the agent, where is it kept, and what is in it?

Its law: a file is stored whole or not at all, and never outside its folder.
"""
