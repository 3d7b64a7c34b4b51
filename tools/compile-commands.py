#!/usr/bin/python3
"""Prints a compilation database for editors: compile-commands.py 'COMPILER FLAGS' FILE..."""
import json
import os
import sys

command, *files = sys.argv[1:]
print(json.dumps([{"directory": os.getcwd(), "file": file, "command": f"{command} -c {file}"} for file in files], indent=1))
