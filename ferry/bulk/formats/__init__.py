"""Files of rows in and out of a bulk batch: recognised, cut into chunks, read, written in parts and put together."""
