"""What /openapi.json says of bodies and answers: the routes read raw JSON, so their shapes stand here.

A module for each kind of route. A test sends generated requests against it and checks each answer with it.
"""
