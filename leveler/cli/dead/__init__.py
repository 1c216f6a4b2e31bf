"""``leveler dead``: list, show, replay and purge what was given up; one file a command."""
