"""Phase 16, 17 and 18's files, read strictly: what is wrong with one is said by file, line and field."""
