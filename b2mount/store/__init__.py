"""B2, as one store of plain verbs; the only home of b2sdk."""
