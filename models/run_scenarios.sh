#!/bin/bash
# Runs a scenario runner with the arguments given.
exec "$@"
