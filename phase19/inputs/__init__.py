"""What a run reads: wire formats, strict decoding, readers, thresholds, samples."""
