"""What all tests share."""

pytest_plugins = ["tests.containers.plugin"]
