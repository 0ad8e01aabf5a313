"""Reading containers' logs back; the shim writes them. One module per driver, one Protocol."""
