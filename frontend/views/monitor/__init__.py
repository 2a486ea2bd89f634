"""The Monitor page: how the images and answers of a model have changed."""
