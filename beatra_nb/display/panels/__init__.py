"""How the panels look when they are not alive: the stills that saved and exported notebooks hold."""
