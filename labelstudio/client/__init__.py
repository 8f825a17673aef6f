"""One Label Studio as one account sees it: push, wait, pull, answer."""
