"""How the gateway's database comes to its present tables; ``database`` runs it at start."""
