"""What all tests share: servers, and the table of what the contract said."""

pytest_plugins = ["tests.containers.plugin", "tests.contract.summary"]
