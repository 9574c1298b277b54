"""What is computed for pictures of finished stages: which images, colours of labels, neighbours, components."""
