"""The private registry: vets releases, serves allow-lists, and can take them back.

It never executes a package and needs neither Docker nor a sandbox.
"""
