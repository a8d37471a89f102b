"""Classes from photographs: recipes of fixed rules, and class scenes made by them."""
