"""The command line: parse, call the library, echo. One module per command group, nothing heavy at import."""
