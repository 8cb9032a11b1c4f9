"""The command line: a file a command. It parses, calls, prints and exits."""
