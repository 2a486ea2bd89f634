"""Pictures that people give: taken in, read, and the results of many, shown."""
