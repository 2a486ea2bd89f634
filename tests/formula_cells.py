"""Text that spreadsheets evaluate as a formula, and text that they do not."""

FORMULAS = (
    *("=1+1", "+1", "-1", "@sum", "\tx", "\rx", "\nx", "'=1", "''=1"),
    *(" =1", "\t=1", "\u00a0=1", "\u3000+1", " \u2007\u202f-1", "\v@x", "\x00=1", "\x1f=1"),
    *("\u200b=1", "\ufeff=1", "\u2060=1", "\u200e=1", "\u202e=1", "\u2066=1", "\u00ad=1"),
    *("\uff1d1", "\uff0b1", "\uff0d1", "\uff20x", "\ufe661", "\ufe621", "\ufe631", "\ufe6bx"),
    *("\u22121", '"=1', ' "=1"', "\u00a0\uff1d1"),
)
PLAIN_TEXT = ("", "7", "a=b", "'tis", "an image.png", " a b", '"quoted"', "\u200b7", "_-")
