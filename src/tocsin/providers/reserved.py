"""What every payload carries besides the caller's content: the delivery's id and its signed receipt token.

Room is kept for both when a message is checked at the door, so that what passes there fits every device.
"""

from typing import Final

DELIVERY: Final = "dlv_" + "0" * 52
"""As long as every delivery id."""
RECEIPT: Final = "0" * 128
"""As long as a receipt token may be."""
