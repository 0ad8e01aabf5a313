"""The `kedge` command: a table of strings, one module per verb."""
