"""What looks after the exchange while it runs: its journal, its followers, outside parts."""
