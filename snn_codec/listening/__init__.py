"""Listening tests: stimuli, a page and a server for MUSHRA (ITU-R BS.1534-3), its analysis, and a page to compare."""
