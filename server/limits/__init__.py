"""How much each client and each address may ask for."""
