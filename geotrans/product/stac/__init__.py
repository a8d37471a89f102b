"""STAC 1.1 documents: items of products, their collection, items of models.

They are written as the JSON they are, so that translating needs no STAC library; tests validate
them with pystac.
"""
