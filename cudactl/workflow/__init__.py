"""The jobs a user asks for, composed from the other rooms."""
