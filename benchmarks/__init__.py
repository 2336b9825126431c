"""The measurements behind every figure in the documentation: `make bench`. Nothing of the product imports them."""
