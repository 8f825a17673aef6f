"""One file a source of images; each turns its originals into ``prepared.Item``s."""
