"""The values that trust is made of: pure, frozen, strict.

Each module is one format of design §4. Every ``parse`` takes bytes or decoded JSON
from outside and returns a value that is valid because it exists; every ``to_dict``
gives back what ``parse`` accepts.
"""
