"""What the command line does at the end of a command that failed, without modules that help does not need."""
