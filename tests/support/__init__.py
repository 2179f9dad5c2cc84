"""What several kinds of tests share: the running service, the contract, the stories, and charts of a stranger."""
