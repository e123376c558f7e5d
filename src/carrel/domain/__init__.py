"""The words of the glossary as types; pure."""
