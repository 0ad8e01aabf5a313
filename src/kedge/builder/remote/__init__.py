"""Files from elsewhere: what ADD downloads, git repositories, contexts that are URLs."""
