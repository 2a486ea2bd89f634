"""The Draw page: classify a drawing after every stroke."""
