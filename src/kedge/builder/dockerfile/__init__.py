"""The Dockerfile front end: text in, typed stages out; pure, no file, no network, no clock."""
