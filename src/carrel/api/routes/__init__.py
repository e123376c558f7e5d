"""The routes, by subject; each declares who may call it."""
