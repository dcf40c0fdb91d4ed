"""Values to text: tables, plans, documents and diffs; nothing here reads, prints or decides.

Its modules are imported one by one, so that a command waits for what it prints alone.
"""
