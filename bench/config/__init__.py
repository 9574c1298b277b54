"""The config dialect: config files become frozen, validated types, once. Nothing here imports torch."""
