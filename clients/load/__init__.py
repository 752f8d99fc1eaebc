"""`exchange load`: many orders, from a file or drawn from a seed, and how they were answered."""
