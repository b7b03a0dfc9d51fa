"""The migrations of the gateway's database, which ``store.database`` runs at start."""
