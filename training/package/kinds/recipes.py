"""Lines that a refusal tells to type."""


def in_double_quotes(code: str) -> str:
    """Return code as it is written between double quotes in a shell."""
    for character in '\\"$`':
        code = code.replace(character, f"\\{character}")
    return code
