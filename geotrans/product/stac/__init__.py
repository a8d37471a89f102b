"""What a catalogue needs to know, as STAC 1.1 documents: products, their collection, the models.

They are written as the JSON they are, so that translating needs no STAC library; tests validate
them with pystac.
"""
