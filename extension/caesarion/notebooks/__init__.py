"""Notebooks: how does a chat become a notebook, and how does a notebook run from top to bottom?"""
