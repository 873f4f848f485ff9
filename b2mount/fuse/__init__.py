"""What the kernel calls: translated, never decided."""
