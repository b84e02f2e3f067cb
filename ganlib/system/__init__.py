"""What stands between ganlib and the machine: files, the environment, the ends of a command
line."""
