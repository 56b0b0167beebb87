"""Input files: formats, strict decoding, readers, thresholds and generated samples."""
